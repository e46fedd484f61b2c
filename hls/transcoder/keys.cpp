/* SPDX-License-Identifier: Apache-2.0 */
#include "transcoder/keys.hpp"

#include "common/bytes.hpp"

namespace card
{
namespace
{

unsigned text_offset(bool tls13)
{
    return tls13 ? tls_header_bytes : tls_header_bytes + tls12_nonce_bytes;
}

/* Where the record's text ends; 0 as long as its length is not known. */
unsigned text_end(const record_part &r)
{
    return r.valid && r.fragment >= tls_tag_bytes ? tls_header_bytes + r.fragment - tls_tag_bytes : 0;
}

text_range lay_out(const record_part &r, bool tls13)
{
    text_range x = {};
    const unsigned begin = text_offset(tls13);
    const unsigned first = larger(r.offset, begin), last = smaller(r.offset + r.bytes, text_end(r));
    if (!r.valid || first >= last)
        return x;
    const unsigned into = (first - begin) % block_bytes;
    x.from = static_cast<uint8_t>(r.at + first - r.offset);
    x.to = static_cast<uint8_t>(r.at + last - r.offset);
    x.at = static_cast<int8_t>(static_cast<int>(x.from) - static_cast<int>(into));
    x.block = static_cast<uint16_t>((first - begin) / block_bytes);
    x.cells = static_cast<uint8_t>((last - 1 - begin) / block_bytes - x.block + 1);
    return x;
}

/* Blocks of the record's text behind the part's last cell. */
uint16_t blocks_after(const record_part &r, const text_range &x, bool tls13)
{
    const unsigned text = text_end(r) - text_offset(tls13);
    return static_cast<uint16_t>((text + block_bytes - 1) / block_bytes - (x.cells > 0 ? x.block + x.cells : 0));
}

void make_nonce(uint8_t nonce[12], const uint8_t iv[12], bool tls13, uint64_t number)
{
    uint8_t n[8];
    store_be<8>(n, number);
    for (unsigned i = 0; i < 12; i++)
#pragma HLS UNROLL
        nonce[i] = i < 4 ? iv[i] : static_cast<uint8_t>((tls13 ? iv[i] : 0) ^ n[i - 4]);
}

aad_block make_aad(const record_part &r, bool tls13, uint64_t seq)
{
    aad_block x = {};
    uint8_t *header = x.byte;
    unsigned length = r.fragment;
    if (!tls13) {
        store_be<8>(x.byte, seq);
        header += 8;
        length -= tls12_overhead;
    }
    header[0] = r.type;
    header[1] = header[2] = 3;
    store_be<2>(header + 3, length);
    return x;
}

void copy(uint8_t *to, const uint8_t *from, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
#pragma HLS UNROLL
        to[i] = from[i];
}

keystream_job open_job(const piece &p, const piece_layout &layout, const key_set &a, const key_set &b)
{
    keystream_job j = {};
    j.layout = layout;
    j.first = 2;
    copy(j.key_a, a.open_key, 32);
    copy(j.key_b, b.open_key, 32);
    j.long_a = (a.long_keys & 1) != 0;
    j.long_b = (b.long_keys & 1) != 0;
    make_nonce(j.nonce_a, a.open_iv, p.tls13, p.tls13 ? p.a.open_seq : p.a.nonce);
    make_nonce(j.nonce_b, b.open_iv, p.tls13, p.tls13 ? p.b.open_seq : p.b.nonce);
    return j;
}

keystream_job seal_job(const piece &p, const piece_layout &layout, const key_set &a, const key_set &b)
{
    keystream_job j = {};
    j.layout = layout;
    j.first = 2;
    copy(j.key_a, a.seal_key, 32);
    copy(j.key_b, b.seal_key, 32);
    j.long_a = (a.long_keys & 2) != 0;
    j.long_b = (b.long_keys & 2) != 0;
    make_nonce(j.nonce_a, a.seal_iv, p.tls13, p.a.seal_seq);
    make_nonce(j.nonce_b, b.seal_iv, p.tls13, p.b.seal_seq);
    return j;
}

/* The explicit nonce of TLS 1.2 goes out as the seal side's number. */
void replace_nonce(uint8_t *byte, const record_part &r)
{
    uint8_t n[8];
    store_be<8>(n, r.seal_seq);
    for (unsigned i = 0; i < tls12_nonce_bytes; i++) {
#pragma HLS UNROLL
        const unsigned offset = tls_header_bytes + i;
        if (r.valid && offset >= r.offset && offset < static_cast<unsigned>(r.offset + r.bytes))
            byte[r.at + offset - r.offset] = n[i];
    }
}

} // namespace

void keys(keys_state &s, const keys_in &in, const keys_out &out)
{
#pragma HLS PIPELINE II = 1
    if (!in.wipes.empty() && !out.wiped.full()) {
        const uint16_t slot = in.wipes.read();
        s.slot[slot] = key_state{};
        out.wiped.write(slot);
    }
    if (out.pieces.full() || out.open_jobs.full() || out.seal_jobs.full() || out.open_weights.full() || out.seal_weights.full())
        return;
    keyed_piece &k = s.piece;
    piece &p = k.p;
    if (!s.held) {
        if (in.pieces.empty())
            return;
        in.pieces.read(p);
        s.held = true;
    }
    if ((p.fill && in.lines.empty()) || (p.key_load && in.loads.empty()))
        return;
    s.held = false;
    key_state &line = s.slot[p.slot];
    if (p.fill)
        in.lines.read(line);
    if (p.key_load)
        line.set[p.set & 1] = in.loads.read().set;
    k.flow = p.session ? load_le<8>(line.flow) : 0;
    k.window_shift = p.session ? line.window_shift : static_cast<int8_t>(0);
    if (crypts(p)) {
        const key_set &a = line.set[p.a.set], &b = line.set[p.b.set], &fresh = p.b.valid ? b : a;
        k.layout.a = lay_out(p.a, p.tls13);
        k.layout.b = lay_out(p.b, p.tls13);
        k.open_a = make_aad(p.a, p.tls13, p.a.open_seq);
        k.open_b = make_aad(p.b, p.tls13, p.b.open_seq);
        k.seal_a = make_aad(p.a, p.tls13, p.a.seal_seq);
        k.seal_b = make_aad(p.b, p.tls13, p.b.seal_seq);
        out.open_jobs.write(open_job(p, k.layout, a, b));
        out.seal_jobs.write(seal_job(p, k.layout, a, b));
        weight_job w = {};
        if (p.b.header_done || k.layout.b.cells > 0)
            w.exponent = blocks_after(p.b, k.layout.b, p.tls13);
        else if (p.a.header_done || k.layout.a.cells > 0)
            w.exponent = blocks_after(p.a, k.layout.a, p.tls13);
        copy(w.h, fresh.open_h, 16);
        out.open_weights.write(w);
        copy(w.h, fresh.seal_h, 16);
        out.seal_weights.write(w);
    }
    out.pieces.write(k);
}

void mix(mix_state &s, const mix_in &in, const mix_out &out)
{
#pragma HLS PIPELINE II = 1
    if (out.pieces.full() || out.open_jobs.full() || out.seal_jobs.full() || out.mirror_jobs.full())
        return;
    keyed_piece &k = s.piece;
    if (!s.held) {
        if (in.pieces.empty())
            return;
        in.pieces.read(k);
        s.held = true;
    }
    if (crypts(k.p) && (in.open.empty() || in.seal.empty()))
        return;
    s.held = false;
    mixed_piece m = {};
    m.p = k.p;
    m.flow = k.flow;
    m.window_shift = k.window_shift;
    if (crypts(k.p)) {
        const keystream_result open = in.open.read(), seal = in.seal.read();
        m.text_a = k.layout.a;
        m.text_b = k.layout.b;
        for (unsigned i = 0; i < beat_bytes; i++) {
#pragma HLS UNROLL
            const uint8_t plain = static_cast<uint8_t>(k.p.byte[i] ^ open.byte[i]);
            const bool text = (i >= m.text_a.from && i < m.text_a.to) || (i >= m.text_b.from && i < m.text_b.to);
            m.plain[i] = text ? plain : 0;
            m.p.byte[i] = static_cast<uint8_t>(plain ^ seal.byte[i]);
        }
        copy(m.open_mask, open.tag_mask, 16);
        copy(m.seal_mask, seal.tag_mask, 16);
        copy(m.mirror_key, open.zero_a, 16);
        if (!k.p.tls13) {
            replace_nonce(m.p.byte, k.p.a);
            replace_nonce(m.p.byte, k.p.b);
        }
        ghash_job g = {};
        g.fresh = k.p.fresh;
        g.layout = k.layout;
        g.with_aad_a = k.p.a.header_done;
        g.with_aad_b = k.p.b.header_done;
        copy(g.byte, k.p.byte, beat_bytes);
        copy(g.aad_a, k.open_a.byte, 16);
        copy(g.aad_b, k.open_b.byte, 16);
        out.open_jobs.write(g);
        copy(g.byte, m.p.byte, beat_bytes);
        copy(g.aad_a, k.seal_a.byte, 16);
        copy(g.aad_b, k.seal_b.byte, 16);
        out.seal_jobs.write(g);
        if (mirrors(k.p)) {
            keystream_job j = {};
            j.layout = k.layout;
            copy(j.key_a, open.zero_a, 16);
            copy(j.key_b, open.zero_b, 16);
            out.mirror_jobs.write(j);
        }
    }
    out.pieces.write(m);
}

} // namespace card
