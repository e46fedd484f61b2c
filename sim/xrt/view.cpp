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
#include <vector>
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

// "HBM[0] HBM[2]", each bank once.
std::string banks_of(const xrt::xclbin::ip &unit)
{
    std::string banks;
    for (const auto &argument : unit.get_args()) {
        for (const auto &memory : argument.get_mems()) {
            const std::string tag = " " + memory.get_tag();
            if ((banks + " ").find(tag + " ") == std::string::npos)
                banks += tag;
        }
    }
    return banks.empty() ? " none" : banks;
}

void show_kernel(const xrt::xclbin::kernel &kernel)
{
    std::printf("kernel %s\n", kernel.get_name().c_str());
    for (const auto &unit : kernel.get_cus()) {
        std::printf("  compute unit %s", unit.get_name().c_str());
        if (unit.get_base_address() != ~UINT64_C(0)) // one without registers runs by itself
            std::printf(", registers at %#" PRIx64 ", memory:%s", unit.get_base_address(), banks_of(unit).c_str());
        std::printf("\n");
    }
}

// A line for each run of banks of one kind and size.
void show_memory(const std::vector<xrt::xclbin::mem> &banks)
{
    for (size_t i = 0, end; i < banks.size(); i = end) {
        const auto &first = banks[i];
        for (end = i + 1; end < banks.size(); end++) {
            if (banks[end].get_type() != first.get_type() || banks[end].get_size_kb() != first.get_size_kb())
                break;
        }
        const std::string names = end - i == 1 ? first.get_tag() : first.get_tag() + " to " + banks[end - 1].get_tag();
        std::printf("memory %s: %s, %" PRIu64 " MiB%s\n", names.c_str(), type_name(first.get_type()),
                    static_cast<uint64_t>(first.get_size_kb()) >> 10, end - i == 1 ? "" : " each");
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
    for (const auto &kernel : image.get_kernels())
        show_kernel(kernel);
    show_memory(image.get_mems());
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
