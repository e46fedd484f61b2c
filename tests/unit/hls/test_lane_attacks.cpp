/* SPDX-License-Identifier: Apache-2.0 */
/* What a reader who tried to break the lane thought of: each case was a fault once, or is near one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include <openssl/evp.h>
#include <string.h>

#include "common/bytes.hpp"
#include "lane_bench.hpp"

namespace
{

using bench::bytes;
using namespace card;

enum : uint32_t { session = 5, first_seq = 1000 };

void encrypt(const EVP_CIPHER *cipher, const uint8_t key[16], const uint8_t *block, uint8_t *out)
{
    EVP_CIPHER_CTX *const aes = EVP_CIPHER_CTX_new();
    int n = 0;
    assert_int_equal(EVP_EncryptInit_ex(aes, cipher, nullptr, key, nullptr), 1);
    assert_int_equal(EVP_EncryptUpdate(aes, out, &n, block, 16), 1);
    EVP_CIPHER_CTX_free(aes);
}

/* A flow whose records the test makes as it likes, and the lane it goes through. */
class flow
{
  public:
    explicit flow(bool tls13, bool timed = false) : m_tls13(tls13), m_lane(options(timed))
    {
        sim::random_source random(1);
        for (key_set &k : m_keys) {
            random.fill(&k, sizeof k);
            k.long_keys = 0;
            memset(k.open_key + 16, 0, 16);
            memset(k.seal_key + 16, 0, 16);
            const uint8_t zero[16] = {};
            encrypt(EVP_aes_128_ecb(), k.open_key, zero, k.open_h);
            encrypt(EVP_aes_128_ecb(), k.seal_key, zero, k.seal_h);
        }
        m_lane.add(session, key(), action_session_transcode, state(0));
    }

    session_state state(uint32_t seal_seq) const
    {
        session_state s = {};
        s.keys.set[0] = m_keys[0];
        s.keys.set[1] = m_keys[1];
        s.track.next = s.track.record_start = first_seq;
        s.track.seal_seq = seal_seq;
        s.track.flags = static_cast<uint8_t>(track_mirror | (m_tls13 ? track_tls13 | track_next : 0));
        return s;
    }

    /* A genuine record; nonce: the explicit one of TLS 1.2. */
    bytes seal(const bytes &text, uint64_t nonce = 0)
    {
        const size_t at = m_tls13 ? 5 : 13;
        bytes r(at + text.size() + 16);
        uint8_t iv[12], aad[13];
        int n = 0, aad_bytes = 5;
        r[0] = 23;
        r[1] = r[2] = 3;
        store_be<2>(&r[3], r.size() - 5);
        memcpy(iv, m_keys[0].open_iv, 12);
        memcpy(aad, r.data(), 5);
        if (m_tls13) {
            store_be64(iv + 4, load_be64(iv + 4) ^ m_records);
        } else {
            store_be64(&r[5], nonce);
            memcpy(iv + 4, &r[5], 8);
            store_be64(aad, m_records);
            memcpy(aad + 8, r.data(), 3);
            store_be<2>(aad + 11, text.size());
            aad_bytes = 13;
        }
        m_records++;
        EVP_CIPHER_CTX *const aes = EVP_CIPHER_CTX_new();
        assert_int_equal(EVP_EncryptInit_ex(aes, EVP_aes_128_gcm(), nullptr, m_keys[0].open_key, iv), 1);
        assert_int_equal(EVP_EncryptUpdate(aes, nullptr, &n, aad, aad_bytes), 1);
        assert_int_equal(EVP_EncryptUpdate(aes, &r[at], &n, text.data(), static_cast<int>(text.size())), 1);
        assert_int_equal(EVP_EncryptFinal_ex(aes, iv, &n), 1);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(aes, EVP_CTRL_AEAD_GET_TAG, 16, &r[at + text.size()]), 1);
        EVP_CIPHER_CTX_free(aes);
        return r;
    }

    /* Bytes from..to of `stream` as a segment, where the stream begins with the session. */
    void send(const bytes &stream, size_t from, size_t to)
    {
        const sl_card_flow_key k = key();
        const size_t count = to - from;
        bytes f(54 + count);
        f[12] = 8;
        f[14] = 0x45;
        store_be<2>(&f[16], f.size() - 14);
        f[22] = 64;
        f[23] = 6;
        memcpy(&f[26], k.src, 4);
        memcpy(&f[30], k.dst, 4);
        store_be<2>(&f[24], sum(&f[14], 20, 0));
        store_be<2>(&f[34], k.sport);
        store_be<2>(&f[36], k.dport);
        store_be<4>(&f[38], first_seq + from);
        f[46] = 0x50;
        f[47] = tcp_ack;
        std::copy(stream.begin() + static_cast<long>(from), stream.begin() + static_cast<long>(to), f.begin() + 54);
        uint32_t pseudo = 6 + static_cast<uint32_t>(f.size() - 34);
        for (size_t i = 26; i < 34; i += 2)
            pseudo += load_be16(&f[i]);
        store_be<2>(&f[50], sum(&f[34], f.size() - 34, pseudo));
        m_lane.send(f.data(), f.size());
    }
    void send(const bytes &stream)
    {
        send(stream, 0, stream.size());
    }
    bench::lane_output drain()
    {
        m_lane.drain();
        return m_lane.take();
    }

    static sl_card_flow_key key()
    {
        sl_card_flow_key k = {};
        store_be<4>(k.src, 0x0a000001);
        store_be<4>(k.dst, 0x0a000002);
        k.sport = 4000;
        k.dport = 443;
        k.proto = 6;
        k.version = 4;
        return k;
    }
    const key_set &keys(unsigned set) const
    {
        return m_keys[set];
    }
    bench::lane_bench &lane()
    {
        return m_lane;
    }

  private:
    static bench::lane_options options(bool timed)
    {
        bench::lane_options o;
        o.timed = timed;
        o.latency_low = o.latency_high = 200;
        o.sessions = 64;
        return o;
    }
    static uint16_t sum(const uint8_t *p, size_t n, uint32_t s)
    {
        for (size_t i = 0; i < n; i += 2)
            s += static_cast<uint32_t>(p[i] << 8 | (i + 1 < n ? p[i + 1] : 0));
        while (s >> 16 != 0)
            s = (s & 0xffff) + (s >> 16);
        return static_cast<uint16_t>(~s);
    }

    bool m_tls13;
    key_set m_keys[2];
    uint64_t m_records = 0;
    bench::lane_bench m_lane;
};

const bytes key_update = {24, 0, 0, 1, 0, 22};

bytes operator+(bytes a, const bytes &b)
{
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

void expect_one_event(const bench::lane_output &out, event_kind kind)
{
    assert_int_equal(out.events.size(), 1);
    assert_int_equal(out.events[0].kind, kind);
}

/* The content type is judged by what was verified, not by bytes that came again and were altered (G12). */
void test_altered_copy_of_the_content(void **)
{
    {
        flow f(true);
        const bytes r = f.seal(key_update);
        f.send(r, 0, 10);
        bytes altered = r;
        altered[5] ^= 1;
        f.send(altered, 5, r.size());
        expect_one_event(f.drain(), event_key_update);
    }
    {
        flow f(true); /* a ticket that ends like a KeyUpdate but for one byte */
        bytes text(294, 7);
        text = text + bytes{4, 0, 0, 1, 0, 22};
        const bytes r = f.seal(text);
        f.send(r, 0, 5 + 299);
        bytes altered = r;
        altered[5 + 294] ^= 4 ^ 24;
        f.send(altered, 5 + 294, r.size());
        expect_one_event(f.drain(), event_handshake);
    }
}

/* Padded records of which a part came ahead of a hole. */
void test_content_with_a_hole(void **)
{
    {
        flow f(true);
        bytes text = key_update;
        text.resize(400);
        const bytes r = f.seal(text);
        f.send(r, 0, 6);
        f.send(r, 9, 200);
        f.send(r, 6, 9);
        f.send(r, 200, r.size());
        expect_one_event(f.drain(), event_key_update);
    }
    {
        flow f(true);
        bytes text = {1, 90, 21};
        text.resize(400);
        const bytes r = f.seal(text);
        f.send(r, 0, 6);
        f.send(r, 7, 200);
        f.send(r, 6, 7);
        f.send(r, 200, r.size());
        const bench::lane_output out = f.drain();
        expect_one_event(out, event_alert);
        assert_int_equal(out.events[0].detail, 1 << 8 | 90);
    }
}

/* A sender that uses an explicit nonce again does not open an unverified record with the key that was told for another (G7). */
void test_nonce_used_again(void **)
{
    flow f(false);
    const bytes first = f.seal(bytes(64, 'A'), 7);
    bytes second = f.seal(bytes(64, 'B'), 7);
    second.back() ^= 1;
    f.send(first + second);
    const bench::lane_output out = f.drain();
    expect_one_event(out, event_bad_tag);
    const uint8_t none[16] = {};
    bytes key;
    for (const mirror_item &m : out.mirror)
        if (m.verdict == mirror_verified)
            key.assign(m.key, m.key + 16);
        else
            assert_memory_equal(m.key, none, 16);
    assert_int_equal(key.size(), 16);
    uint8_t stream[64];
    for (unsigned i = 0; i < 4; i++) {
        uint8_t block[16] = {};
        block[15] = static_cast<uint8_t>(i);
        encrypt(EVP_aes_128_ecb(), key.data(), block, stream + 16 * i);
    }
    unsigned read = 0, shown = 0;
    for (const mirror_item &m : out.mirror) {
        const mirror_part *const parts[] = {&m.a, &m.b};
        for (const mirror_part *part : parts)
            for (unsigned k = 0; part->open_seq == 1 && k < part->bytes; k++, shown++)
                read += (m.byte[part->at + k] ^ stream[part->offset + k]) == 'B';
    }
    assert_int_equal(shown, 64);
    assert_true(read < 16);
}

/* Frames that are not looked up, between others whose states are on their way, and a key set meanwhile. */
void test_frames_without_a_key(void **)
{
    bytes arp(60);
    arp[12] = 8;
    arp[13] = 6;
    {
        flow f(true, true);
        const bytes a = f.seal(bytes(10, 23)), b = f.seal(bytes(10, 23)), stream = a + b;
        f.lane().send(arp.data(), arp.size());
        f.send(stream, 0, a.size());
        f.lane().send(arp.data(), arp.size());
        f.send(stream, a.size(), stream.size());
        const bench::lane_output out = f.drain();
        assert_int_equal(out.sent.size(), 2);
        assert_int_equal(out.punts.size(), 2);
    }
    {
        flow f(true, true);
        f.lane().ports().key_loads.write(key_load{f.keys(1)});
        f.lane().ports().fetch_commands.write(fetch_command{fetch_keys, 1, session, 0});
        f.lane().run(60);
        f.lane().send(arp.data(), arp.size());
        f.lane().run(2000);
        f.lane().ports().fetch_commands.write(fetch_command{fetch_keys_end, 1, session, 0});
        f.lane().run(100);
        f.send(f.seal(bytes(10, 23)));
        const bench::lane_output out = f.drain();
        assert_int_equal(out.sent.size(), 1);
        assert_int_equal(out.punts.size(), 1);
    }
}

/* A KeyUpdate, behind it a header that can't be (under the old keys it never was), and data: the session lives. */
void test_death_that_a_key_update_takes_back(void **)
{
    flow f(true, true);
    const bytes r = f.seal(key_update), stream = r + bytes{99, 9, 9, 9, 9, 9} + bytes(20, 1);
    f.send(stream, 0, r.size());
    f.send(stream, r.size(), r.size() + 6);
    f.send(stream, r.size() + 6, stream.size());
    for (const bench::punted &p : f.drain().punts)
        assert_int_not_equal(p.info.reason, punt_dead);
}

/*
 * A host that replaces the keys in use while a KeyUpdate is on its way through the lane: before it or behind it, the session ends,
 * and the KeyUpdate, found later, does not bring it back. Only when the other set already held the next keys, and the command came
 * behind the KeyUpdate, did it name the set that is free then.
 */
void test_keys_in_use_during_a_key_update(void **)
{
    unsigned overtaken = 0, allowed = 0;
    for (unsigned with_next = 0; with_next < 2; with_next++) {
        for (unsigned wait = 0; wait < 320; wait += 32) {
            flow f(true, true);
            session_state s = f.state(0);
            if (with_next == 0)
                s.track.flags = static_cast<uint8_t>(s.track.flags & ~track_next);
            f.lane().remove(session, flow::key());
            f.lane().add(session, flow::key(), action_session_transcode, s);
            const bytes update = f.seal(key_update), stream = update + f.seal(bytes(60, 23));
            const size_t first = update.size();
            f.send(stream, 0, first);
            f.lane().run(wait);
            f.lane().load_keys(session, 0, f.keys(1));
            const bench::lane_output out = f.drain();
            const bool updated = !out.events.empty() && out.events[0].kind == event_key_update;
            const uint8_t flags = f.lane().state(session).track.flags;
            const bool dead = (flags & track_dead) != 0;
            assert_true(dead || (with_next == 1 && updated && (flags & track_next) != 0 && (flags & track_previous) == 0));
            overtaken += updated && dead && with_next == 1;
            allowed += !dead;

            /* Nothing of the session is transcoded again, neither old data with what is no key of it, nor new. */
            f.send(stream, 0, first);
            f.send(stream, first, stream.size());
            const bench::lane_output after = f.drain();
            if (dead) {
                assert_int_equal(after.sent.size(), 0);
                assert_int_equal(after.punts.size(), 2);
                for (const bench::punted &p : after.punts)
                    assert_int_equal(p.info.reason, punt_dead);
            }
        }
    }
    assert_true(overtaken > 0 && allowed > 0);
}

/* The last record number before the reserve, and the first one in it (G3); and one so large that a sum would wrap (G1). */
void test_seal_limit(void **)
{
    const struct {
        uint32_t seal_seq;
        size_t sent;
    } rows[] = {
        /* 1 */ {seal_limit_default - seal_reserve, 1},
        /* 2 */ {seal_limit_default - seal_reserve + 1, 0},
        /* 3 */ {UINT32_MAX, 0},
        /* 4 */ {UINT32_MAX - seal_reserve + 1, 0},
    };
    for (const auto &row : rows) {
        flow f(true);
        f.lane().remove(session, flow::key());
        f.lane().add(session, flow::key(), action_session_transcode, f.state(row.seal_seq));
        f.send(f.seal(bytes(10, 23)));
        const bench::lane_output out = f.drain();
        assert_int_equal(out.sent.size(), row.sent);
        if (row.sent == 0)
            assert_int_equal(out.punts.at(0).info.reason, punt_seal_limit);
    }
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_altered_copy_of_the_content),
        cmocka_unit_test(test_content_with_a_hole),
        cmocka_unit_test(test_nonce_used_again),
        cmocka_unit_test(test_frames_without_a_key),
        cmocka_unit_test(test_death_that_a_key_update_takes_back),
        cmocka_unit_test(test_keys_in_use_during_a_key_update),
        cmocka_unit_test(test_seal_limit),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
