// SPDX-License-Identifier: Apache-2.0
#include "rings.h"

#include <stddef.h>
#include <string.h>

#include <environment.h>

#include "check.h"

static const char *const unit_names[UNITS] = {"sluice_control:{sluice_control_0}", "sluice_state:{sluice_state_0}",
                                              "sluice_state:{sluice_state_1}", "sluice_packets:{sluice_packets_0}",
                                              "sluice_packets:{sluice_packets_1}"};

static uint64_t rounds_of(const struct rings_sizes *sizes)
{
    return sizes->rounds ? sizes->rounds : ~UINT64_C(0);
}

/* Memory in the bank that the argument is linked to, all zero. */
static void *give(struct rings *rings, unsigned unit, int argument, size_t bytes, xrtBufferFlags flags)
{
    const int group = xrtKernelArgGroupId(rings->kernel[unit], argument);
    CHECK(group >= 0 && rings->buffers < BUFFERS);
    xrtBufferHandle buffer = xrtBOAlloc(rings->device, bytes, flags, (xrtMemoryGroup)group);
    CHECK(buffer && xrtRunSetArg(rings->run[unit], argument, buffer) == 0);
    rings->buffer[rings->buffers++] = buffer;
    void *memory = xrtBOMap(buffer);
    CHECK(memory && (uintptr_t)memory % card_line_bytes == 0);
    memset(memory, 0, bytes);
    return memory;
}

static void give_control(struct rings *rings, const struct rings_sizes *sizes)
{
    xrtRunHandle run = rings->run[UNIT_CONTROL];
    rings->commands = give(rings, UNIT_CONTROL, 0, sizes->commands * sizeof *rings->commands, XCL_BO_FLAGS_HOST_ONLY);
    rings->completions = give(rings, UNIT_CONTROL, 1, sizes->commands * sizeof *rings->completions, XCL_BO_FLAGS_HOST_ONLY);
    rings->events = give(rings, UNIT_CONTROL, 2, sizes->events * sizeof *rings->events, XCL_BO_FLAGS_HOST_ONLY);
    rings->page = give(rings, UNIT_CONTROL, 3, sizeof *rings->page, XCL_BO_FLAGS_HOST_ONLY);
    CHECK(xrtRunSetArg(run, 4, sizes->told_commands ? sizes->told_commands : sizes->commands) == 0);
    CHECK(xrtRunSetArg(run, 5, sizes->events) == 0 && xrtRunSetArg(run, 6, sizes->sessions) == 0);
    CHECK(xrtRunSetArg(run, 7, rounds_of(sizes)) == 0);
}

static void give_state(struct rings *rings, unsigned lane, const struct rings_sizes *sizes)
{
    const unsigned unit = UNIT_STATE + lane;
    for (int i = 0; i < STATE_LINES; i++) {
        rings->line[lane][i] = give(rings, unit, i, (size_t)sizes->sessions * card_line_bytes, 0);
        CHECK(xrtRunSetArg(rings->run[unit], STATE_LINES + i, rings->buffer[rings->buffers - 1]) == 0);
    }
    CHECK(xrtRunSetArg(rings->run[unit], 12, sizes->told_sessions ? sizes->told_sessions : sizes->sessions) == 0);
    CHECK(xrtRunSetArg(rings->run[unit], 13, rounds_of(sizes)) == 0);
}

static void give_packets(struct rings *rings, unsigned lane, const struct rings_sizes *sizes)
{
    const unsigned unit = UNIT_PACKETS + lane;
    const uint32_t lines = sizes->packet_lines;
    struct card_ring *const all[] = {&rings->to_card[lane], &rings->from_card[lane], &rings->mirror[lane]};
    for (int i = 0; i < 3; i++) {
        uint8_t *memory = give(rings, unit, i, (size_t)lines * card_line_bytes, XCL_BO_FLAGS_HOST_ONLY);
        *all[i] = (struct card_ring){memory, lines, 0};
        CHECK(xrtRunSetArg(rings->run[unit], 4 + i, lines) == 0);
    }
    rings->packets_page[lane] = give(rings, unit, 3, sizeof **rings->packets_page, XCL_BO_FLAGS_HOST_ONLY);
    CHECK(xrtRunSetArg(rings->run[unit], 7, (size_t)(sizes->told_lane ? sizes->told_lane : lane)) == 0);
    CHECK(xrtRunSetArg(rings->run[unit], 8, rounds_of(sizes)) == 0);
}

static void on_over(xrtRunHandle run, enum ert_cmd_state state, void *over)
{
    (void)run;
    (void)state;
    atomic_store((atomic_bool *)over, true);
}

void rings_open(struct rings *rings, const char *xclbin, const struct rings_sizes *sizes)
{
    xuid_t id;
    memset(rings, 0, sizeof *rings);
    rings->sizes = *sizes;
    rings->device = xrtDeviceOpen(0);
    CHECK(rings->device && xrtDeviceLoadXclbinFile(rings->device, xclbin) == 0);
    CHECK(xrtDeviceGetXclbinUUID(rings->device, id) == 0);
    for (unsigned unit = 0; unit < UNITS; unit++) {
        rings->kernel[unit] = xrtPLKernelOpen(rings->device, id, unit_names[unit]);
        CHECK(rings->kernel[unit]);
        rings->run[unit] = xrtRunOpen(rings->kernel[unit]);
        CHECK(rings->run[unit]);
        CHECK(xrtRunSetCallback(rings->run[unit], ERT_CMD_STATE_COMPLETED, on_over, &rings->over[unit]) == 0);
    }
    give_control(rings, sizes);
    for (unsigned lane = 0; lane < LANES; lane++) {
        give_state(rings, lane, sizes);
        give_packets(rings, lane, sizes);
    }
}

void rings_start(struct rings *rings)
{
    for (unsigned unit = 0; unit < UNITS; unit++)
        CHECK(xrtRunStart(rings->run[unit]) == 0);
}

void rings_close(struct rings *rings)
{
    const uint64_t end = now_ms() + LIMIT_MS;
    for (unsigned unit = 0; unit < UNITS; unit++) {
        while (!atomic_load(&rings->over[unit]))
            CHECK(now_ms() < end);
        CHECK(xrtRunClose(rings->run[unit]) == 0 && xrtKernelClose(rings->kernel[unit]) == 0);
    }
    for (unsigned i = 0; i < rings->buffers; i++)
        CHECK(xrtBOFree(rings->buffer[i]) == 0);
    CHECK(xrtDeviceClose(rings->device) == 0);
    CHECK(sl_xrt_wait_closed(LIMIT_MS));
}

bool rings_over(const struct rings *rings, unsigned unit)
{
    const enum ert_cmd_state state = xrtRunState(rings->run[unit]);
    return state >= ERT_CMD_STATE_COMPLETED && state != ERT_CMD_STATE_SUBMITTED;
}

uint32_t rings_ask(struct rings *rings, struct card_command *command)
{
    struct card_command *const entry = &rings->commands[rings->asked % rings->sizes.commands];
    command->sequence = ++rings->asked;
    memcpy(entry, command, offsetof(struct card_command, valid));
    __atomic_store_n(&entry->valid, command->sequence, __ATOMIC_RELEASE);
    return command->sequence;
}

bool rings_answer(struct rings *rings, struct card_completion *completion, unsigned limit_ms)
{
    const struct card_completion *const entry = &rings->completions[rings->answered % rings->sizes.commands];
    for (const uint64_t end = now_ms() + limit_ms; __atomic_load_n(&entry->valid, __ATOMIC_ACQUIRE) != rings->answered + 1;)
        if (now_ms() >= end)
            return false;
    *completion = *entry;
    rings->answered++;
    return true;
}

uint16_t rings_do(struct rings *rings, struct card_command *command)
{
    struct card_completion completion;
    const uint32_t sequence = rings_ask(rings, command);
    CHECK(rings_answer(rings, &completion, LIMIT_MS));
    CHECK(completion.sequence == sequence && completion.opcode == command->opcode && completion.lane == command->lane);
    return completion.status;
}

void rings_forward_all(struct rings *rings)
{
    for (uint8_t lane = 0; lane < LANES; lane++) {
        struct card_command command = {.opcode = card_rule_default, .lane = lane, .set = 1};
        CHECK(rings_do(rings, &command) == card_ok);
    }
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

void rings_frame(uint8_t frame[FRAME_BYTES], uint32_t number)
{
    static const uint8_t head[] = {2, 0, 0,  0,  0, 1, 2,  0, 0, 0, 0,  2, 8, 0, 0x45, 0,    0, 0,    0, 0,
                                   0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x30, 0x39, 0, 0x35, 0, 0};
    uint32_t sum = 0;
    memset(frame, 0, FRAME_BYTES);
    memcpy(frame, head, sizeof head);
    put16(frame + 16, FRAME_BYTES - 14);
    put16(frame + 38, FRAME_BYTES - 34); /* UDP's length; no checksum */
    for (unsigned i = 14; i < 34; i += 2)
        sum += (uint32_t)frame[i] << 8 | frame[i + 1];
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    put16(frame + 24, ~sum);
    memcpy(frame + 42, &number, sizeof number);
}

void rings_send(struct rings *rings, unsigned lane, const uint8_t frame[FRAME_BYTES])
{
    for (const uint64_t end = now_ms() + LIMIT_MS;
         !card_ring_send(&rings->to_card[lane], rings->packets_page[lane], card_packet_rx, frame, FRAME_BYTES, false);)
        CHECK(now_ms() < end);
}

unsigned rings_receive(struct rings *rings, unsigned lane, uint8_t data[card_packet_room], size_t *bytes, unsigned limit_ms)
{
    struct card_packet_head head;
    for (const uint64_t end = now_ms() + limit_ms;
         !card_ring_receive(&rings->from_card[lane], rings->packets_page[lane], &head, data);)
        if (now_ms() >= end)
            return 0;
    CHECK(head.lane == lane);
    *bytes = head.bytes;
    return head.kind;
}
