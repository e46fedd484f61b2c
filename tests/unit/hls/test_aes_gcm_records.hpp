// SPDX-License-Identifier: Apache-2.0
/*
 * Records as they come over the wire, for tests of the AES-GCM processes: sealed by OpenSSL, one behind the other under one key,
 * cut into packets, beats and pieces at random places, put through the processes in random order, and added up.
 */
#pragma once

#include <algorithm>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <vector>

#include "aes_gcm/ghash.hpp"
#include "aes_gcm/keystream.hpp"
#include "random.hpp"

typedef std::vector<uint8_t> bytes;

struct gcm_key {
    uint8_t key[32];
    bool is_long;
    uint8_t h[16];
};

struct gcm_record {
    uint8_t nonce[12];
    bytes aad, plain, cipher; /* equally long */
    uint8_t tag[16];
    unsigned header = 5; /* bytes before the text: 5, or with an explicit nonce 13 */
};

struct gcm_outcome {
    bytes text;
    uint8_t tag[16];
    uint8_t zero[16]; /* E(key, nonce || 0) */
};

inline void must(bool ok)
{
    if (!ok)
        abort();
}

inline void openssl_block(const gcm_key &k, const uint8_t in[16], uint8_t out[16])
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0;
    must(EVP_EncryptInit_ex(ctx, k.is_long ? EVP_aes_256_ecb() : EVP_aes_128_ecb(), nullptr, k.key, nullptr) == 1);
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    must(EVP_EncryptUpdate(ctx, out, &len, in, 16) == 1 && len == 16);
    EVP_CIPHER_CTX_free(ctx);
}

inline gcm_key make_key(const uint8_t *key, bool is_long)
{
    gcm_key k = {};
    const uint8_t zero[16] = {};
    memcpy(k.key, key, is_long ? 32 : 16);
    k.is_long = is_long;
    openssl_block(k, zero, k.h);
    return k;
}

inline gcm_key random_key(sim::random_source &random)
{
    uint8_t key[32];
    random.fill(key, sizeof(key));
    return make_key(key, random.chance(0.5));
}

/* Fills in cipher and tag. */
inline void openssl_seal(const gcm_key &k, gcm_record &r)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0;
    uint8_t nothing[16] = {};
    r.cipher.resize(r.plain.size());
    must(EVP_EncryptInit_ex(ctx, k.is_long ? EVP_aes_256_gcm() : EVP_aes_128_gcm(), nullptr, k.key, r.nonce) == 1);
    if (!r.aad.empty())
        must(EVP_EncryptUpdate(ctx, nullptr, &len, r.aad.data(), static_cast<int>(r.aad.size())) == 1);
    if (!r.plain.empty())
        must(EVP_EncryptUpdate(ctx, r.cipher.data(), &len, r.plain.data(), static_cast<int>(r.plain.size())) == 1);
    must(EVP_EncryptFinal_ex(ctx, nothing, &len) == 1);
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, 16, r.tag) == 1);
    EVP_CIPHER_CTX_free(ctx);
}

inline gcm_record random_record(sim::random_source &random, const gcm_key &k, size_t longest)
{
    gcm_record r;
    random.fill(r.nonce, sizeof(r.nonce));
    r.aad.resize(random.chance(0.1) ? random.below(17) : random.chance(0.5) ? 5 : 13);
    r.plain.resize(random.chance(0.3)   ? random.below(40)
                   : random.chance(0.2) ? longest - random.below(3)
                                        : random.below(longest + 1));
    random.fill(r.aad.data(), r.aad.size());
    random.fill(r.plain.data(), r.plain.size());
    r.header = random.chance(0.5) ? 5 : 13;
    openssl_seal(k, r);
    return r;
}

/* What the processes are asked about one piece, and where its bytes are in the records. */
struct gcm_work {
    card::keystream_job stream;
    card::weight_job weight;
    card::ghash_job hash;
    uint8_t in[card::beat_bytes];
    int record_a, record_b; /* -1: none */
    bool hash_only;
};

class gcm_run
{
  public:
    gcm_run(const gcm_key &key, const std::vector<gcm_record> &records, bool seal, sim::random_source &random)
        : m_key(key), m_records(records), m_seal(seal), m_random(random)
    {
        for (size_t i = 0; i < records.size(); i++) {
            const gcm_record &r = records[i];
            const bytes &text = seal ? r.plain : r.cipher;
            m_starts.push_back(m_wire.size());
            m_wire.resize(m_wire.size() + r.header);
            m_random.fill(m_wire.data() + m_starts[i], r.header);
            m_wire.insert(m_wire.end(), text.begin(), text.end());
            m_wire.resize(m_wire.size() + card::tls_tag_bytes);
            cut_long_aad(static_cast<int>(i));
        }
        m_starts.push_back(m_wire.size());
        for (size_t at = 0; at < m_wire.size();) {
            const size_t packet = std::min<size_t>(m_wire.size() - at, m_random.chance(0.2)   ? m_random.between(1, 30)
                                                                       : m_random.chance(0.5) ? m_random.between(1, 300)
                                                                                              : m_random.between(1, 9000));
            cut_packet(at, packet);
            at += packet;
        }
    }

    std::vector<gcm_work> &work()
    {
        return m_work;
    }

    void shuffle()
    {
        for (size_t i = m_work.size(); i > 1; i--)
            std::swap(m_work[i - 1], m_work[m_random.below(i)]);
    }

    /* Takes every piece as so many: each of its bytes, and each AAD, is fresh in one of them. */
    void replay(unsigned most)
    {
        std::vector<gcm_work> all;
        for (const gcm_work &w : m_work) {
            const uint64_t copies = m_random.between(1, most), aad_a = m_random.below(copies), aad_b = m_random.below(copies);
            uint64_t left = ~UINT64_C(0);
            for (uint64_t i = 0; i < copies; i++) {
                gcm_work one = w;
                one.hash.fresh = i + 1 == copies ? left : left & m_random.bits();
                left &= ~one.hash.fresh;
                one.hash.with_aad_a = w.hash.with_aad_a && i == aad_a;
                one.hash.with_aad_b = w.hash.with_aad_b && i == aad_b;
                set_weight(one);
                all.push_back(one);
            }
        }
        m_work = all;
    }

    /* Between the two runs of processes: what is hashed is the ciphertext, which when sealing comes out of the first. */
    static void hash_bytes(gcm_work &w, const card::keystream_result &stream, bool seal)
    {
        for (unsigned i = 0; i < card::beat_bytes; i++)
            w.hash.byte[i] = static_cast<uint8_t>(seal && !w.hash_only ? w.in[i] ^ stream.byte[i] : w.in[i]);
    }

    /* Through the processes, one piece after the other. */
    std::vector<gcm_outcome> through_processes()
    {
        hls::stream<card::keystream_job> jobs("jobs");
        hls::stream<card::keystream_result> streams("streams");
        hls::stream<card::weight_job> exponents("exponents");
        hls::stream<card::weight_result> powers("powers");
        hls::stream<card::ghash_job> hash_jobs("hash_jobs");
        hls::stream<card::ghash_result> sums("sums");
        std::vector<card::keystream_result> a;
        std::vector<card::ghash_result> b;
        for (gcm_work &w : m_work) {
            jobs.write(w.stream);
            card::keystream<card::with_tag_mask | card::with_zero>(jobs, streams);
            a.push_back(streams.read());
            hash_bytes(w, a.back(), m_seal);
            exponents.write(w.weight);
            card::weights(exponents, powers);
            hash_jobs.write(w.hash);
            card::ghash(hash_jobs, powers, sums);
            b.push_back(sums.read());
        }
        return add_up(a, b);
    }

    std::vector<gcm_outcome> add_up(const std::vector<card::keystream_result> &streams,
                                    const std::vector<card::ghash_result> &hashes)
    {
        std::vector<gcm_outcome> out(m_records.size());
        std::vector<card::gf128> sum(m_records.size(), card::gf128_zero());
        std::vector<bytes> mask(m_records.size());
        for (size_t i = 0; i < m_records.size(); i++)
            out[i].text.resize(m_records[i].plain.size());
        for (size_t i = 0; i < m_work.size(); i++) {
            const gcm_work &w = m_work[i];
            uint64_t covered = 0;
            if (!w.hash_only) {
                covered |= take_text(w, w.stream.layout.a, w.record_a, streams[i], out);
                covered |= take_text(w, w.stream.layout.b, w.record_b, streams[i], out);
                for (unsigned p = 0; p < card::beat_bytes; p++)
                    must((covered >> p & 1) || streams[i].byte[p] == 0);
                mask[static_cast<size_t>(w.record_a)].assign(streams[i].tag_mask, streams[i].tag_mask + 16);
                memcpy(out[static_cast<size_t>(w.record_a)].zero, streams[i].zero_a, 16);
                if (w.stream.layout.b.cells > 0)
                    memcpy(out[static_cast<size_t>(w.record_b)].zero, streams[i].zero_b, 16);
            }
            card::gf128 &a = sum[static_cast<size_t>(w.record_a)];
            a = card::gf128_add(a, hashes[i].sum_a);
            if (w.record_b >= 0) {
                card::gf128 &b = sum[static_cast<size_t>(w.record_b)];
                b = card::gf128_add(b, hashes[i].sum_b);
            } else {
                must(hashes[i].sum_b.word[0] == 0 && hashes[i].sum_b.word[1] == 0);
            }
        }
        for (size_t i = 0; i < m_records.size(); i++) {
            const gcm_record &r = m_records[i];
            const card::gf128 hash = card::ghash_final(sum[i], hashes[0].h, 8 * r.aad.size(), 8 * r.plain.size());
            card::gf128_to_bytes(hash, out[i].tag);
            must(mask[i].size() == 16);
            for (unsigned j = 0; j < 16; j++)
                out[i].tag[j] = static_cast<uint8_t>(out[i].tag[j] ^ mask[i][j]);
        }
        return out;
    }

  private:
    struct part {
        int record = -1;
        unsigned from = 0, to = 0, offset = 0; /* bytes of text, in the beat; the first one in the text */
        bool aad = false;                      /* the fifth header byte is here */
        bool tag = false, ends = false;
    };

    bool aad_is_text(int record) const
    {
        return m_records[static_cast<size_t>(record)].aad.size() > card::block_bytes;
    }

    /* The part of a record in [at, at + bytes) of the wire, which is at `place` in the beat. */
    part part_of(int record, size_t at, size_t length, size_t place) const
    {
        const size_t i = static_cast<size_t>(record), start = m_starts[i], text = start + m_records[i].header;
        const size_t tag = text + m_records[i].plain.size(), from = std::max(at, text), to = std::min(at + length, tag);
        part p;
        p.record = record;
        p.aad = at <= start + 4 && start + 4 < at + length && !m_records[i].aad.empty() && !aad_is_text(record);
        p.tag = at + length > tag;
        p.ends = at + length >= m_starts[i + 1];
        if (from < to) {
            p.from = static_cast<unsigned>(place + (from - at));
            p.to = static_cast<unsigned>(place + (to - at));
            p.offset = static_cast<unsigned>(from - text);
        }
        return p;
    }

    void cut_packet(size_t at, size_t packet)
    {
        size_t place = m_random.below(card::beat_bytes);
        while (packet > 0) {
            const size_t length = std::min<size_t>(packet, card::beat_bytes - place);
            cut_beat(at, length, place);
            at += length;
            packet -= length;
            place = 0;
        }
    }

    void cut_beat(size_t at, size_t length, size_t place)
    {
        size_t next = static_cast<size_t>(std::upper_bound(m_starts.begin(), m_starts.end(), at) - m_starts.begin()) - 1;
        const size_t beat_at = at, beat_place = place;
        while (length > 0) {
            const part a = part_of(static_cast<int>(next), at, std::min(length, m_starts[next + 1] - at), place);
            part b;
            size_t used = std::min(length, m_starts[next + 1] - at);
            next++;
            if (used < length) {
                const size_t more = std::min(length - used, m_starts[next + 1] - m_starts[next]);
                const part follower = part_of(static_cast<int>(next), at + used, more, place + used);
                if (!follower.tag) {
                    b = follower;
                    used += more;
                }
            }
            add_piece(a, b, beat_at, beat_place, std::min<size_t>(card::beat_bytes - beat_place, m_wire.size() - beat_at));
            at += used;
            place += used;
            length -= used;
        }
    }

    void add_piece(const part &a, const part &b, size_t at, size_t place, size_t length)
    {
        gcm_work w = {};
        random_fields(w);
        memcpy(w.in + place, m_wire.data() + at, length);
        w.record_a = a.record;
        w.record_b = b.record;
        w.stream.layout.a = card::cut_text(a.from, a.to, a.offset);
        w.stream.layout.b = card::cut_text(b.from, b.to, b.offset);
        w.stream.first = 2;
        set_keys(a.record, w.stream.key_a, w.stream.nonce_a, w.stream.long_a, w.hash.aad_a);
        if (b.record >= 0)
            set_keys(b.record, w.stream.key_b, w.stream.nonce_b, w.stream.long_b, w.hash.aad_b);
        w.hash.layout = w.stream.layout;
        w.hash.fresh = ~UINT64_C(0);
        w.hash.with_aad_a = a.aad;
        w.hash.with_aad_b = b.aad;
        set_weight(w);
        m_work.push_back(w);
    }

    /* Additional data of more than a block, which TLS does not have: hashed like a text before the text. */
    void cut_long_aad(int record)
    {
        if (!aad_is_text(record))
            return;
        const gcm_record &r = m_records[static_cast<size_t>(record)];
        bytes padded = r.aad;
        padded.resize((padded.size() + 15) / 16 * 16);
        for (size_t at = 0; at < padded.size();) {
            const size_t place = m_random.below(card::beat_bytes), length = std::min(padded.size() - at, card::beat_bytes - place);
            gcm_work w = {};
            random_fields(w);
            memcpy(w.in + place, padded.data() + at, length);
            w.hash.layout.a =
                card::cut_text(static_cast<unsigned>(place), static_cast<unsigned>(place + length), static_cast<unsigned>(at));
            w.hash.fresh = ~UINT64_C(0);
            w.hash_only = true;
            w.record_a = record;
            w.record_b = -1;
            set_weight(w);
            m_work.push_back(w);
            at += length;
        }
    }

    /* What does not matter is not zero. */
    void random_fields(gcm_work &w)
    {
        m_random.fill(w.in, sizeof(w.in));
        m_random.fill(w.stream.key_a, sizeof(w.stream.key_a));
        m_random.fill(w.stream.key_b, sizeof(w.stream.key_b));
        m_random.fill(w.hash.aad_a, sizeof(w.hash.aad_a));
        m_random.fill(w.hash.aad_b, sizeof(w.hash.aad_b));
        w.stream.long_b = m_random.chance(0.5);
    }

    void set_keys(int record, uint8_t key[32], uint8_t nonce[12], bool &is_long, uint8_t aad[16]) const
    {
        const gcm_record &r = m_records[static_cast<size_t>(record)];
        memcpy(key, m_key.key, m_key.is_long ? 32 : 16);
        memcpy(nonce, r.nonce, 12);
        is_long = m_key.is_long;
        memset(aad, 0, 16);
        if (!r.aad.empty() && !aad_is_text(record))
            memcpy(aad, r.aad.data(), r.aad.size());
    }

    unsigned text_bytes(int record) const
    {
        return record < 0 ? 0 : static_cast<unsigned>(m_records[static_cast<size_t>(record)].plain.size());
    }

    void set_weight(gcm_work &w) const
    {
        unsigned of_a = text_bytes(w.record_a);
        if (w.hash_only)
            of_a = static_cast<unsigned>((m_records[static_cast<size_t>(w.record_a)].aad.size() + 15) / 16 + (of_a + 15) / 16) * 16;
        memcpy(w.weight.h, m_key.h, 16);
        w.weight.exponent =
            card::weight_exponent(w.hash.layout, w.hash.with_aad_a, w.hash.with_aad_b, of_a, text_bytes(w.record_b));
    }

    static uint64_t take_text(const gcm_work &w, const card::text_range &range, int record, const card::keystream_result &stream,
                              std::vector<gcm_outcome> &out)
    {
        for (unsigned p = range.from; p < range.to; p++) {
            const size_t at = static_cast<size_t>(16 * range.block + static_cast<int>(p) - range.at);
            out[static_cast<size_t>(record)].text[at] = static_cast<uint8_t>(w.in[p] ^ stream.byte[p]);
        }
        return card::mask_range(range.from, range.to);
    }

    const gcm_key m_key;
    const std::vector<gcm_record> m_records;
    const bool m_seal;
    sim::random_source &m_random;
    bytes m_wire;
    std::vector<size_t> m_starts;
    std::vector<gcm_work> m_work;
};
