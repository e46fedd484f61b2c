// SPDX-License-Identifier: Apache-2.0
#include "environment.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bool set(const char *name, const char *folder, const char *rest)
{
    char value[PATH_MAX];
    int length = snprintf(value, sizeof value, "%s%s", folder, rest);
    if (length < 0 || (size_t)length >= sizeof value) {
        errno = ENAMETOOLONG;
        return false;
    }
    return setenv(name, value, 1) == 0;
}

static bool set_or_unset(const char *name, const char *value)
{
    return (value ? setenv(name, value, 1) : unsetenv(name)) == 0;
}

/* XRT's own spelling of the frequency. */
static bool write_emconfig(const struct sl_xrt_environment *environment)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/emconfig.json", environment->run_folder);
    if (length < 0 || (size_t)length >= sizeof path) {
        errno = ENAMETOOLONG;
        return false;
    }
    FILE *file = fopen(path, "we");
    if (!file)
        return false;
    fprintf(file,
            "{\"Version\":{\"FileVersion\":\"2.0\",\"ToolVersion\":\"2022.1\"},\n"
            " \"Platform\":{\"UnifiedPlatform\":\"true\",\"ExpandedPR\":\"true\",\"Boards\":[{\"NumBoards\":\"1\",\"Devices\":[\n"
            "  {\"Name\":\"%s\",\"NumDevices\":\"%u\",\"HalMajorVersion\":\"1\",\"HalMinorVersion\":\"0\",\"VendorId\":\"4334\",\n"
            "   \"SubsystemVendorId\":\"0\",\"DeviceVersion\":\"0\",\"DataAlignment\":\"4096\",\"OclFreqency\":\"300\",\n"
            "   \"DdrBanks\":[{\"Size\":\"%uGB\"}]}]}]}}\n",
            SL_XRT_CARD_NAME, environment->devices ? environment->devices : 1, environment->memory_gb ? environment->memory_gb : 4);
    return fclose(file) == 0;
}

bool sl_xrt_environment_set(const struct sl_xrt_environment *environment)
{
    char model[PATH_MAX];
    int length =
        snprintf(model, sizeof model, "%s/data/emulation/unified/cpu_em/generic_pcie/model/genericpciemodel", environment->tree);
    if (length < 0 || (size_t)length >= sizeof model || access(model, X_OK) != 0) {
        errno = ENOENT;
        return false;
    }
    // Without USER every host would use one and the same socket.
    return write_emconfig(environment) && set("XILINX_XRT", environment->tree, "") && set("XILINX_VITIS", environment->tree, "") &&
           set("XRT_INI_PATH", environment->tree, environment->resident ? "/resident.ini" : "/xrt.ini") &&
           set("EMCONFIG_PATH", environment->run_folder, "") && set("SDACCEL_EM_RUN_DIR", environment->run_folder, "") &&
           setenv("XCL_EMULATION_MODE", "sw_emu", 1) == 0 && setenv("USER", "sluice-xrt", 0) == 0 &&
           setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 0) == 0 && set_or_unset("SLUICE_XRT_FAULT", environment->fault) &&
           set_or_unset("SLUICE_XRT_FAULT_FILE", environment->fault_file);
}

bool sl_xrt_devices_alive(void)
{
    siginfo_t info = {0};
    int result = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
    return result != 0 || info.si_pid == 0;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

bool sl_xrt_wait_closed(unsigned limit_ms)
{
    siginfo_t info;
    for (unsigned ms = 0; ms < limit_ms; ms++) {
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
            pause_ms(20); // the shim reaps first, and has a few things to do then
            return true;
        }
        pause_ms(1);
    }
    return false;
}
