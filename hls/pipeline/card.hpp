/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All kernels of a card, joined as in hw/platforms/BOARD/link-host.cfg, as fast as they go natively: what the simulated card runs.
 * One thread; the host may be another one, or another process, that shares the memory.
 */
#pragma once

#include <memory>
#include <stdint.h>

#include "card/card_command.h"
#include "card/card_packets.h"

namespace card
{

/* Lines of 64 bytes, aligned to that, as the kernels' arguments. Everything is zero at first. */
struct card_packets_memory {
    void *to_card, *from_card, *mirror; /* rings */
    void *page;                         /* struct card_packets_page */
    uint32_t to_card_lines, from_card_lines, mirror_lines;
};

struct card_memory {
    void *commands, *completions, *events; /* rings: card_command.h */
    void *page;                            /* struct card_host_page */
    uint32_t command_entries, event_entries;
    card_packets_memory packets[2]; /* a lane */
    void *sessions[2][6];           /* a lane, a line: `session_count` lines */
    uint32_t session_count;         /* at most sessions_max, a multiple of 64 */
};

class card_model
{
  public:
    /* Is that memory what the kernels need? Sizes, alignment. */
    static bool fits(const card_memory &memory);

    /* As after configuration. Memory stays the caller's, and lives longer. Ends the program if it does not fit. */
    explicit card_model(const card_memory &memory);
    ~card_model();
    card_model(const card_model &) = delete;
    card_model &operator=(const card_model &) = delete;

    /* A round: every process of every kernel once. */
    void step();

    /* Nothing is under way: steps change nothing until the host writes something. Looks at every stream, so ask now and then. */
    bool idle();

    struct kernels; /* all state and streams; tests look inside */
    kernels &inside()
    {
        return *m_kernels;
    }

  private:
    std::unique_ptr<kernels> m_kernels;
};

} // namespace card
