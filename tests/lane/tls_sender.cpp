/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_sender.hpp"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.hpp"

namespace bench
{
namespace
{

enum : size_t { ethernet_bytes = 14, headers_bytes = 54, tag_bytes = 16, record_header_bytes = 5 };

[[noreturn]] void fail(const char *what)
{
    fprintf(stderr, "tls_sender: %s\n", what);
    exit(1);
}

uint32_t words(const uint8_t *p, size_t n)
{
    uint32_t s = 0;
    for (size_t i = 0; i < n; i += 2)
        s += static_cast<uint32_t>(p[i] << 8 | (i + 1 < n ? p[i + 1] : 0));
    return s;
}

uint32_t load_be(unsigned count, const uint8_t *p)
{
    uint32_t x = 0;
    for (unsigned i = 0; i < count; i++)
        x = x << 8 | p[i];
    return x;
}

uint16_t sum(const uint8_t *p, size_t n, uint32_t s)
{
    s += words(p, n);
    while (s >> 16 != 0)
        s = (s & 0xffff) + (s >> 16);
    return static_cast<uint16_t>(~s);
}

uint32_t pseudo_header(const std::vector<uint8_t> &f)
{
    return 6 + static_cast<uint32_t>(f.size() - 34) + words(&f[26], 8);
}

void nonce_of(uint8_t nonce[12], const uint8_t iv[12], uint64_t record)
{
    memcpy(nonce, iv, 12);
    for (unsigned i = 0; i < 8; i++)
        nonce[11 - i] = static_cast<uint8_t>(nonce[11 - i] ^ record >> 8 * i);
}

} // namespace

tls_sender::tls_sender(uint32_t index, unsigned record_bytes, unsigned segment_bytes)
    : m_index(index), m_record(record_bytes), m_segment(segment_bytes), m_random(index + 1), m_aes(EVP_CIPHER_CTX_new())
{
    m_random.fill(&m_keys, sizeof m_keys);
    m_keys.long_keys = 0;
    memset(m_keys.open_key + 16, 0, 16);
    memset(m_keys.seal_key + 16, 0, 16);
    hash_key(m_keys.open_key, m_keys.open_h);
    hash_key(m_keys.seal_key, m_keys.seal_h);
    m_start = m_seq = static_cast<uint32_t>(m_random.bits());
    m_received_to = m_start + seq_delta;
}

tls_sender::~tls_sender()
{
    EVP_CIPHER_CTX_free(m_aes);
}

sl_card_flow_key tls_sender::key() const
{
    sl_card_flow_key k = {};
    card::store_be<4>(k.src, 0x0a000000 + m_index);
    card::store_be<4>(k.dst, 0xc0a80001);
    k.sport = 40000;
    k.dport = 443;
    k.proto = 6;
    k.version = 4;
    return k;
}

card::session_state tls_sender::state() const
{
    card::session_state s = {};
    s.keys.set[0] = m_keys;
    card::store_le<8>(s.keys.flow, 0x1122334400000000 + m_index);
    s.track.next = s.track.record_start = m_start;
    s.track.flags = card::track_tls13 | card::track_mirror;
    s.track.seq_delta = seq_delta;
    s.track.ack_delta = ack_delta;
    return s;
}

std::vector<uint8_t> tls_sender::frame()
{
    while (m_stream.size() < m_segment)
        seal();
    std::vector<uint8_t> f(headers_bytes + m_segment);
    const sl_card_flow_key k = key();
    f[12] = 0x08;
    f[14] = 0x45;
    card::store_be<2>(&f[16], f.size() - ethernet_bytes);
    f[22] = 64;
    f[23] = 6;
    memcpy(&f[26], k.src, 4);
    memcpy(&f[30], k.dst, 4);
    card::store_be<2>(&f[24], sum(&f[14], 20, 0));
    card::store_be<2>(&f[34], k.sport);
    card::store_be<2>(&f[36], k.dport);
    card::store_be<4>(&f[38], m_seq);
    f[46] = 0x50;
    f[47] = 0x10;
    card::store_be<2>(&f[48], 1000);
    std::copy(m_stream.begin(), m_stream.begin() + m_segment, f.begin() + headers_bytes);
    m_stream.erase(m_stream.begin(), m_stream.begin() + m_segment);
    m_seq += m_segment;
    card::store_be<2>(&f[50], sum(&f[34], f.size() - 34, pseudo_header(f)));
    return f;
}

void tls_sender::hash_key(const uint8_t *key, uint8_t *h)
{
    const uint8_t zero[16] = {};
    int n;
    if (EVP_EncryptInit_ex(m_aes, EVP_aes_128_ecb(), nullptr, key, nullptr) != 1 || EVP_EncryptUpdate(m_aes, h, &n, zero, 16) != 1)
        fail("AES");
}

void tls_sender::seal()
{
    std::vector<uint8_t> text(m_record + 1), record(record_header_bytes + text.size() + tag_bytes);
    uint8_t nonce[12], rest[16];
    int n;
    m_random.fill(text.data(), m_record);
    m_text.insert(m_text.end(), text.begin(), text.end() - 1);
    text[m_record] = 23;
    nonce_of(nonce, m_keys.open_iv, m_records++);
    record[0] = 23;
    record[1] = record[2] = 3;
    card::store_be<2>(&record[3], record.size() - record_header_bytes);
    if (EVP_EncryptInit_ex(m_aes, EVP_aes_128_gcm(), nullptr, m_keys.open_key, nonce) != 1 ||
        EVP_EncryptUpdate(m_aes, nullptr, &n, record.data(), record_header_bytes) != 1 ||
        EVP_EncryptUpdate(m_aes, &record[record_header_bytes], &n, text.data(), static_cast<int>(text.size())) != 1 ||
        EVP_EncryptFinal_ex(m_aes, rest, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(m_aes, EVP_CTRL_AEAD_GET_TAG, tag_bytes, &record[record_header_bytes + text.size()]) != 1)
        fail("AES-GCM");
    m_stream.insert(m_stream.end(), record.begin(), record.end());
}

bool tls_sender::receive(const uint8_t *frame, size_t bytes)
{
    const std::vector<uint8_t> f(frame, frame + bytes);
    if (bytes <= headers_bytes || load_be(4, &f[38]) != m_received_to || sum(&f[34], bytes - 34, pseudo_header(f)) != 0 ||
        load_be(4, &f[42]) != ack_delta)
        return false;
    m_received_to += static_cast<uint32_t>(bytes - headers_bytes);
    m_receiving.insert(m_receiving.end(), f.begin() + headers_bytes, f.end());
    while (m_receiving.size() >= record_header_bytes) {
        const size_t whole = record_header_bytes + load_be(2, &m_receiving[3]);
        if (m_receiving.size() < whole)
            return true;
        if (!open(m_receiving.data(), whole))
            return false;
        m_receiving.erase(m_receiving.begin(), m_receiving.begin() + static_cast<long>(whole));
    }
    return true;
}

bool tls_sender::open(const uint8_t *record, size_t bytes)
{
    if (bytes <= record_header_bytes + tag_bytes)
        return false;
    const size_t count = bytes - record_header_bytes - tag_bytes;
    std::vector<uint8_t> text(count), tag(record + bytes - tag_bytes, record + bytes);
    uint8_t nonce[12], rest[16];
    int n;
    nonce_of(nonce, m_keys.seal_iv, m_opened++);
    if (bytes <= record_header_bytes + tag_bytes ||
        EVP_DecryptInit_ex(m_aes, EVP_aes_128_gcm(), nullptr, m_keys.seal_key, nonce) != 1 ||
        EVP_DecryptUpdate(m_aes, nullptr, &n, record, record_header_bytes) != 1 ||
        EVP_DecryptUpdate(m_aes, text.data(), &n, record + record_header_bytes, static_cast<int>(count)) != 1 ||
        EVP_CIPHER_CTX_ctrl(m_aes, EVP_CTRL_AEAD_SET_TAG, tag_bytes, tag.data()) != 1 || EVP_DecryptFinal_ex(m_aes, rest, &n) != 1)
        return false;
    m_received.insert(m_received.end(), text.begin(), text.end() - 1);
    return text.back() == 23;
}

} // namespace bench
