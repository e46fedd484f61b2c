// SPDX-License-Identifier: Apache-2.0
/*
 * sluice-xrt-view: what XRT says of a device, a card or the simulated one, and of the xclbin that it has loaded.
 *
 * usage: sluice-xrt-view FILE.xclbin [DEVICE]
 *
 * The stock xbutil does this for cards only, and Debian's package has no more than its wrapper.
 */
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <experimental/xrt_xclbin.h>
#include <string>
#include <xrt/xrt_device.h>

namespace
{

const char *type_name(xrt::xclbin::mem::memory_type type)
{
    using kind = xrt::xclbin::mem::memory_type;
    switch (type) {
    case kind::ddr3:
        return "DDR3";
    case kind::ddr4:
        return "DDR4";
    case kind::dram:
        return "DRAM";
    case kind::hbm:
        return "HBM";
    case kind::bram:
        return "BRAM";
    case kind::uram:
        return "URAM";
    case kind::host:
        return "host";
    default:
        return "other";
    }
}

std::string banks_of(const xrt::xclbin::arg &argument)
{
    std::string banks;
    for (const auto &memory : argument.get_mems())
        banks += (banks.empty() ? " in " : ", ") + memory.get_tag();
    return banks;
}

void show_unit(const xrt::xclbin::ip &unit)
{
    std::printf("  compute unit %s at %#" PRIx64 "\n", unit.get_name().c_str(), unit.get_base_address());
    for (const auto &argument : unit.get_args()) {
        std::printf("    %s %s at %#" PRIx64 "%s\n", argument.get_host_type().c_str(), argument.get_name().c_str(),
                    static_cast<uint64_t>(argument.get_offset()), banks_of(argument).c_str());
    }
}

void show(const char *file, unsigned index)
{
    using what = xrt::info::device;
    xrt::device device(index);
    const xrt::xclbin image{std::string(file)};
    const std::string loaded = device.load_xclbin(image).to_string();

    std::printf("device %u: %s, %s, %lu MHz\n", index, device.get_info<what::name>().c_str(), device.get_info<what::bdf>().c_str(),
                static_cast<unsigned long>(device.get_info<what::max_clock_frequency_mhz>()));
    std::printf("xclbin %s for %s\n", loaded.c_str(), image.get_xsa_name().c_str());
    for (const auto &kernel : image.get_kernels()) {
        std::printf("kernel %s\n", kernel.get_name().c_str());
        for (const auto &unit : kernel.get_cus())
            show_unit(unit);
    }
    for (const auto &memory : image.get_mems()) {
        std::printf("memory %s: %s, %" PRIu64 " KiB from %#" PRIx64 "%s\n", memory.get_tag().c_str(), type_name(memory.get_type()),
                    static_cast<uint64_t>(memory.get_size_kb()), memory.get_base_address(), memory.get_used() ? "" : ", not used");
    }
}

} // namespace

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        std::fprintf(stderr, "usage: sluice-xrt-view FILE.xclbin [DEVICE]\n");
        return 2;
    }
    try {
        show(argv[1], argc == 3 ? static_cast<unsigned>(std::strtoul(argv[2], nullptr, 10)) : 0);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "sluice-xrt-view: %s\n", error.what());
        std::fflush(stdout);
        _exit(1);
    }
    std::fflush(stdout);
    _exit(0); // XRT's static destructors crash in emulation
}
