/* SPDX-License-Identifier: Apache-2.0 */
#include "transcoder/keys.hpp"

#include "aes_gcm/leaves.hpp"
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
    const unsigned begin = text_offset(tls13);
    const unsigned first = larger(r.offset, begin), last = smaller(r.offset + r.bytes, text_end(r));
    if (first >= last)
        return text_range{};
    return cut_text(r.at + first - r.offset, r.at + last - r.offset, first - begin);
}

unsigned text_bytes(const record_part &r, bool tls13)
{
    const unsigned begin = text_offset(tls13), end = text_end(r);
    return end > begin ? end - begin : 0;
}

void make_nonce(uint8_t nonce[12], const uint8_t iv[12], bool tls13, uint64_t number)
{
    copy_bytes<4>(nonce, iv);
    store_be64(nonce + 4, number ^ (tls13 ? load_be64(iv + 4) : 0));
}

/* Additional authenticated data of a record, zero-padded: RFC 8446 section 5.2, RFC 5246 section 6.2.3.3. All zero in a part that
 * does not bring it. */
void make_aad(uint8_t aad[block_bytes], const record_part &r, bool tls13, uint64_t seq)
{
    for (unsigned i = 0; i < block_bytes; i++)
#pragma HLS UNROLL
        aad[i] = 0;
    if (!r.header_done)
        return;
    uint8_t *header = aad;
    unsigned length = r.fragment;
    if (!tls13) {
        store_be64(aad, seq);
        header += 8;
        length -= tls12_overhead;
    }
    header[0] = r.type;
    header[1] = header[2] = 3;
    store_be<2>(header + 3, length);
}

/* The counter of a record's mirror key: of no use to GCM, whose counters end at 1026, and different for each record even if a
 * TLS 1.2 sender, or somebody in its place, uses an explicit nonce again (a key seals fewer than 2^31 records, G3). */
uint32_t mirror_counter(uint64_t open_seq)
{
    return static_cast<uint32_t>(open_seq | UINT64_C(1) << 31);
}

keystream_job open_job(const piece &p, const piece_layout &layout, const key_set &a, const key_set &b)
{
    keystream_job j;
    j.layout = layout;
    j.first = 2;
    copy_bytes<32>(j.key_a, a.open_key);
    copy_bytes<32>(j.key_b, b.open_key);
    j.long_a = (a.long_keys & 1) != 0;
    j.long_b = (b.long_keys & 1) != 0;
    make_nonce(j.nonce_a, a.open_iv, p.tls13, p.tls13 ? p.a.open_seq : p.a.nonce);
    make_nonce(j.nonce_b, b.open_iv, p.tls13, p.tls13 ? p.b.open_seq : p.b.nonce);
    j.aside_a = mirror_counter(p.a.open_seq);
    j.aside_b = mirror_counter(p.b.open_seq);
    return j;
}

keystream_job seal_job(const piece &p, const piece_layout &layout, const key_set &a, const key_set &b)
{
    keystream_job j;
    j.layout = layout;
    j.first = 2;
    copy_bytes<32>(j.key_a, a.seal_key);
    copy_bytes<32>(j.key_b, b.seal_key);
    j.long_a = (a.long_keys & 2) != 0;
    j.long_b = (b.long_keys & 2) != 0;
    make_nonce(j.nonce_a, a.seal_iv, p.tls13, p.a.seal_seq);
    make_nonce(j.nonce_b, b.seal_iv, p.tls13, p.b.seal_seq);
    j.aside_a = j.aside_b = 0; /* not built in */
    return j;
}

/* The explicit nonce of TLS 1.2 goes out as the seal side's number. */
void replace_nonce(uint8_t *byte, const record_part &r)
{
    uint8_t n[8];
    store_be64(n, r.seal_seq);
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
    k.flow = p.session ? load_le64(line.flow) : 0;
    k.window_shift = p.session ? line.window_shift : static_cast<int8_t>(0);
    if (crypts(p)) {
        const key_set &a = line.set[p.a.set], &b = line.set[p.b.set], &fresh = p.b.valid ? b : a;
        k.layout.a = lay_out(p.a, p.tls13);
        k.layout.b = lay_out(p.b, p.tls13);
        out.open_jobs.write(open_job(p, k.layout, a, b));
        out.seal_jobs.write(seal_job(p, k.layout, a, b));
        weight_job w;
        w.exponent =
            weight_exponent(k.layout, p.a.header_done, p.b.header_done, text_bytes(p.a, p.tls13), text_bytes(p.b, p.tls13));
        copy_bytes<16>(w.h, fresh.open_h);
        out.open_weights.write(w);
        copy_bytes<16>(w.h, fresh.seal_h);
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
    mixed_piece &m = s.mixed;
    m.p = k.p;
    m.flow = k.flow;
    m.window_shift = k.window_shift;
    if (crypts(k.p)) {
        const piece &p = k.p;
        keystream_result &open = s.open, &seal = s.seal;
        in.open.read(open);
        in.seal.read(seal);
        m.text_a = k.layout.a;
        m.text_b = k.layout.b;
        for (unsigned i = 0; i < beat_bytes; i++)
#pragma HLS UNROLL
            m.plain[i] = static_cast<uint8_t>(p.byte[i] ^ open.byte[i]);
        for (unsigned i = 0; i < beat_bytes; i++)
#pragma HLS UNROLL
            m.p.byte[i] = static_cast<uint8_t>(m.plain[i] ^ seal.byte[i]);
        leaf::keep_bytes(m.plain, mask_range(m.text_a.from, m.text_a.to) | mask_range(m.text_b.from, m.text_b.to));
        copy_bytes<16>(m.open_mask, open.tag_mask);
        copy_bytes<16>(m.seal_mask, seal.tag_mask);
        copy_bytes<16>(m.mirror_key, open.zero_a);
        if (!p.tls13) {
            replace_nonce(m.p.byte, p.a);
            replace_nonce(m.p.byte, p.b);
        }
        ghash_job g;
        g.fresh = p.fresh;
        g.layout = k.layout;
        g.with_aad_a = p.a.header_done;
        g.with_aad_b = p.b.header_done;
        copy_bytes<beat_bytes>(g.byte, p.byte);
        make_aad(g.aad_a, p.a, p.tls13, p.a.open_seq);
        make_aad(g.aad_b, p.b, p.tls13, p.b.open_seq);
        out.open_jobs.write(g);
        copy_bytes<beat_bytes>(g.byte, m.p.byte);
        make_aad(g.aad_a, p.a, p.tls13, p.a.seal_seq);
        make_aad(g.aad_b, p.b, p.tls13, p.b.seal_seq);
        out.seal_jobs.write(g);
        if (mirrors(p)) {
            keystream_job j = {};
            j.layout = k.layout;
            copy_bytes<16>(j.key_a, open.zero_a);
            copy_bytes<16>(j.key_b, open.zero_b);
            out.mirror_jobs.write(j);
        }
    }
    out.pieces.write(m);
}

} // namespace card
