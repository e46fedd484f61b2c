/* SPDX-License-Identifier: Apache-2.0 */
/* One direction of a genuine connection: TLS 1.3 records of AES-128-GCM in TCP over IPv4, and what its far end makes of them. */
#pragma once

#include <memory>
#include <stdint.h>
#include <vector>

#include "card/cuckoo.h"
#include "common/session.hpp"
#include "random.hpp"

struct evp_cipher_ctx_st;

namespace bench
{

class tls_sender
{
  public:
    /* record_bytes: content of each record; segment_bytes: payload of each frame. */
    tls_sender(uint32_t index, unsigned record_bytes, unsigned segment_bytes);
    ~tls_sender();
    tls_sender(const tls_sender &) = delete;
    tls_sender &operator=(const tls_sender &) = delete;

    sl_card_flow_key key() const;
    /* As the card gets it before the first frame: opened with the sender's key, sealed with the receiver's; mirrored. */
    card::session_state state() const;
    /* The next segment of the stream. */
    std::vector<uint8_t> frame();

    /* All that was sealed so far: contents without their type. */
    const std::vector<uint8_t> &text() const
    {
        return m_text;
    }
    /* Takes a frame as it left the card; segments come in order. False: its headers or a record of it are not right. */
    bool receive(const uint8_t *frame, size_t bytes);
    /* What the receiver has opened. */
    const std::vector<uint8_t> &received() const
    {
        return m_received;
    }

  private:
    void hash_key(const uint8_t *key, uint8_t *h);
    void seal();
    bool open(const uint8_t *record, size_t bytes);

    enum : uint32_t { seq_delta = 1000, ack_delta = 2000 };
    uint32_t m_start, m_seq, m_index;
    unsigned m_record, m_segment;
    sim::random_source m_random;
    struct evp_cipher_ctx_st *m_aes;
    card::key_set m_keys;
    uint64_t m_records = 0, m_opened = 0;
    uint32_t m_received_to; /* TCP sequence number */
    std::vector<uint8_t> m_stream, m_text, m_receiving, m_received;
};

} // namespace bench
