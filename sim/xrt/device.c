// SPDX-License-Identifier: Apache-2.0
/*
 * sluice-xrt-device: the process that XRT's software emulation starts in the place of Vitis' genericpciemodel. It answers the
 * shim's calls one after the other, until the host closes the device or its end of the socket.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xcl_macros.h>

#include "card.h"
#include "emulation.pb-c.h"
#include "wire.h"

enum { CONNECT_SECONDS = 60, MAX_REGISTERS = 0x10000, MAX_PATH = 4096 };

struct device {
    struct wire wire;
    struct memory memory;
    struct card *card;
    bool over; // closed, or the host is gone
};

/* A call: its message and what it needs. Each answers it, or returns false: the message can't be read. */
typedef bool handler(struct device *device, const uint8_t *bytes, size_t length);

static bool answer_with(struct device *device, const ProtobufCMessage *message)
{
    device->over = !wire_answer(&device->wire, message) || device->over;
    return true;
}

static bool acknowledge(struct device *device, bool ok)
{
    Sluice__Emulation__Acknowledge answer = SLUICE__EMULATION__ACKNOWLEDGE__INIT;
    answer.ok = ok;
    return answer_with(device, &answer.base);
}

static bool text_from(const ProtobufCBinaryData *bytes, char text[MAX_PATH])
{
    if (bytes->len >= MAX_PATH)
        return false;
    if (bytes->len > 0)
        memcpy(text, bytes->data, bytes->len);
    text[bytes->len] = '\0';
    return true;
}

static bool on_load(struct device *device, const uint8_t *bytes, size_t length)
{
    char metadata[MAX_PATH], kernels[MAX_PATH];
    Sluice__Emulation__LoadCall *call = sluice__emulation__load_call__unpack(NULL, length, bytes);
    if (!call)
        return false;
    bool ok = text_from(&call->metadata_path, metadata) && text_from(&call->kernels_path, kernels) &&
              card_load(device->card, metadata, kernels);
    sluice__emulation__load_call__free_unpacked(call, NULL);
    return acknowledge(device, ok);
}

static bool on_allocate(struct device *device, const uint8_t *bytes, size_t length)
{
    char name[MEMORY_NAME];
    Sluice__Emulation__AllocateAnswer answer = SLUICE__EMULATION__ALLOCATE_ANSWER__INIT;
    Sluice__Emulation__AllocateCall *call = sluice__emulation__allocate_call__unpack(NULL, length, bytes);
    if (!call)
        return false;
    answer.ok = memory_add(&device->memory, call->address, call->size, name);
    if (answer.ok)
        answer.file_name = name;
    sluice__emulation__allocate_call__free_unpacked(call, NULL);
    return answer_with(device, &answer.base);
}

static bool on_free(struct device *device, const uint8_t *bytes, size_t length)
{
    Sluice__Emulation__FreeCall *call = sluice__emulation__free_call__unpack(NULL, length, bytes);
    if (!call)
        return false;
    bool ok = memory_remove(&device->memory, call->address);
    sluice__emulation__free_call__free_unpacked(call, NULL);
    return acknowledge(device, ok);
}

static bool on_to_device(struct device *device, const uint8_t *bytes, size_t length)
{
    Sluice__Emulation__ToDeviceAnswer answer = SLUICE__EMULATION__TO_DEVICE_ANSWER__INIT;
    Sluice__Emulation__ToDeviceCall *call = sluice__emulation__to_device_call__unpack(NULL, length, bytes);
    if (!call)
        return false;
    if (call->data.len == call->size && memory_write(&device->memory, call->address, call->data.data, call->size))
        answer.size = call->size;
    sluice__emulation__to_device_call__free_unpacked(call, NULL);
    return answer_with(device, &answer.base);
}

static bool on_from_device(struct device *device, const uint8_t *bytes, size_t length)
{
    Sluice__Emulation__FromDeviceAnswer answer = SLUICE__EMULATION__FROM_DEVICE_ANSWER__INIT;
    Sluice__Emulation__FromDeviceCall *call = sluice__emulation__from_device_call__unpack(NULL, length, bytes);
    if (!call)
        return false;
    answer.data.data = memory_at(&device->memory, call->address, call->size);
    if (answer.data.data && call->size <= WIRE_MAX_MESSAGE)
        answer.size = answer.data.len = (size_t)call->size;
    sluice__emulation__from_device_call__free_unpacked(call, NULL);
    return answer_with(device, &answer.base);
}

static bool on_write(struct device *device, const uint8_t *bytes, size_t length)
{
    Sluice__Emulation__WriteRegistersCall *call = sluice__emulation__write_registers_call__unpack(NULL, length, bytes);
    if (!call)
        return false;
    bool ok = call->data.len == call->size && card_write(device->card, call->address, call->data.data, call->size);
    sluice__emulation__write_registers_call__free_unpacked(call, NULL);
    return acknowledge(device, ok);
}

/* The shim copies as many bytes as it asked for, whatever it gets: so it always gets them. "Not valid" would end the host, whose
   scheduler still asks for the units of the load before while another is under way: they are busy (ap_start). */
static bool answer_registers(struct device *device, uint64_t address, uint32_t size)
{
    static uint8_t data[MAX_REGISTERS];
    Sluice__Emulation__ReadRegistersAnswer answer = SLUICE__EMULATION__READ_REGISTERS_ANSWER__INIT;
    if (size > sizeof data)
        return false;
    memset(data, 0, size);
    if (!card_read(device->card, address, data, size) && size > 0)
        data[0] = 1;
    answer.valid = answer.has_data = true;
    answer.data = (ProtobufCBinaryData){.data = data, .len = size};
    return answer_with(device, &answer.base);
}

static bool on_read(struct device *device, const uint8_t *bytes, size_t length)
{
    Sluice__Emulation__ReadRegistersCall *call = sluice__emulation__read_registers_call__unpack(NULL, length, bytes);
    if (!call)
        return false;
    uint64_t address = call->address;
    uint32_t size = call->size;
    sluice__emulation__read_registers_call__free_unpacked(call, NULL);
    return answer_registers(device, address, size);
}

static bool on_write_one(struct device *device, const uint8_t *bytes, size_t length)
{
    Sluice__Emulation__WriteRegisterCall *call = sluice__emulation__write_register_call__unpack(NULL, length, bytes);
    if (!call)
        return false;
    bool ok = card_write(device->card, (uint64_t)call->unit + call->offset, call->data.data, call->data.len);
    sluice__emulation__write_register_call__free_unpacked(call, NULL);
    return acknowledge(device, ok);
}

static bool on_read_one(struct device *device, const uint8_t *bytes, size_t length)
{
    Sluice__Emulation__ReadRegisterCall *call = sluice__emulation__read_register_call__unpack(NULL, length, bytes);
    if (!call)
        return false;
    uint64_t address = (uint64_t)call->unit + call->offset;
    uint32_t size = call->size;
    sluice__emulation__read_register_call__free_unpacked(call, NULL);
    return answer_registers(device, address, size);
}

/* The first message of all is a close of nothing, from the reset before a load. */
static bool on_close(struct device *device, const uint8_t *bytes, size_t length)
{
    Sluice__Emulation__CloseCall *call = sluice__emulation__close_call__unpack(NULL, length, bytes);
    if (!call)
        return false;
    device->over = call->has_everything && call->everything;
    sluice__emulation__close_call__free_unpacked(call, NULL);
    card_reset(device->card);
    return acknowledge(device, true);
}

static bool on_setup(struct device *device, const uint8_t *bytes, size_t length)
{
    (void)bytes;
    (void)length;
    return acknowledge(device, true);
}

static handler *const handlers[] = {
    [xclClose_n] = on_close,
    [xclLoadBitstream_n] = on_load,
    [xclAllocDeviceBuffer_n] = on_allocate,
    [xclFreeDeviceBuffer_n] = on_free,
    [xclCopyBufferHost2Device_n] = on_to_device,
    [xclCopyBufferDevice2Host_n] = on_from_device,
    [xclWriteAddrKernelCtrl_n] = on_write,
    [xclReadAddrKernelCtrl_n] = on_read,
    [xclSetupInstance_n] = on_setup,
    [xclRegWrite_n] = on_write_one,
    [xclRegRead_n] = on_read_one,
};

static bool serve(struct device *device)
{
    while (!device->over) {
        uint32_t number = 0;
        size_t length = 0;
        enum wire_result result = wire_receive(&device->wire, &number, &length);
        if (result == WIRE_END)
            return true;
        if (result == WIRE_BROKEN || number >= sizeof handlers / sizeof handlers[0] || !handlers[number]) {
            fprintf(stderr, "sluice-xrt-device: a call that this card doesn't know (%u)\n", number);
            return false;
        }
        if (!handlers[number](device, device->wire.bytes, length)) {
            fprintf(stderr, "sluice-xrt-device: call %u failed\n", number);
            return false;
        }
    }
    return true;
}

/* As the shim names it. */
static bool socket_path(char path[MAX_PATH])
{
    const char *user = getenv("USER"), *id = getenv("EMULATION_SOCKETID");
    int length =
        user ? snprintf(path, MAX_PATH, "/tmp/%s/%s", user, id ? id : "xcl_sock") : snprintf(path, MAX_PATH, "/tmp/xcl_sock");
    return length > 0 && length < MAX_PATH;
}

int main(void)
{
    char path[MAX_PATH];
    struct device device = {.wire = {.fd = -1}};
    close_range(3, ~0U, 0); // the host's: another's pipe or socket must not stay open because of this process
    signal(SIGPIPE, SIG_IGN);
    memory_init(&device.memory);
    device.card = card_new(&device.memory);
    bool ok = device.card && socket_path(path) && wire_connect(&device.wire, path, CONNECT_SECONDS);
    if (!ok)
        fprintf(stderr, "sluice-xrt-device: no connection to the host; is it started by XRT's emulation?\n");
    ok = ok && serve(&device);
    if (!ok) {
        // A quiet exit would make the host wait for ever; a signal makes the shim end it.
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    bool all = card_free(device.card);
    wire_close(&device.wire);
    if (!all)
        _exit(0);
    memory_clear(&device.memory);
    return 0;
}
