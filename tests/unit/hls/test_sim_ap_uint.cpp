/* SPDX-License-Identifier: Apache-2.0 */
/* ap_uint against a model that knows nothing but single bits, with random values and random operations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include <ap_axi_sdata.h>
#include <ap_int.h>
#include <string>
#include <type_traits>
#include <vector>

#include "harness.hpp"

static sim::random_source *dice;

/* A number as its bits, the lowest first. */
struct bits {
    std::vector<bool> bit;

    explicit bits(int width) : bit(static_cast<size_t>(width))
    {
    }
    int width() const
    {
        return static_cast<int>(bit.size());
    }
    bool at(int i) const
    {
        return i >= 0 && i < width() && bit[static_cast<size_t>(i)];
    }
    void put(int i, bool v)
    {
        bit[static_cast<size_t>(i)] = v;
    }
    bits as(int new_width) const
    {
        bits r(new_width);
        for (int i = 0; i < new_width; i++)
            r.put(i, at(i));
        return r;
    }
    bits as_signed(int new_width) const
    {
        bits r(new_width);
        for (int i = 0; i < new_width; i++)
            r.put(i, at(i < width() ? i : width() - 1));
        return r;
    }
};

static bits sum(const bits &a, const bits &b, bool subtract, int width)
{
    bits r(width);
    unsigned carry = subtract;
    for (int i = 0; i < width; i++) {
        const unsigned s = a.at(i) + (b.at(i) != subtract) + carry;
        r.put(i, s & 1);
        carry = s >> 1;
    }
    return r;
}

static int compare(const bits &a, const bits &b)
{
    for (int i = std::max(a.width(), b.width()) - 1; i >= 0; i--)
        if (a.at(i) != b.at(i))
            return a.at(i) ? 1 : -1;
    return 0;
}

/* Random, or with long runs of equal bits: these carry. */
static bits draw(int width)
{
    bits r(width);
    const uint64_t kind = dice->below(4);
    bool run = dice->chance(0.5);
    for (int i = 0; i < width; i++) {
        if (kind == 0 || dice->below(20) == 0)
            run = dice->chance(0.5);
        r.put(i, run);
    }
    return r;
}

template <int W> static ap_uint<W> value(const bits &b)
{
    ap_uint<W> v;
    for (int i = 0; i < W; i++)
        v[i] = b.at(i);
    return v;
}

template <int W> static void expect(const ap_uint<W> &v, const bits &b)
{
    assert_int_equal(b.width(), W);
    const int words = (W + 63) / 64;
    for (int i = 0; i < W; i++)
        if (v.test(i) != b.at(i))
            fail_msg("bit %d of %d", i, W);
    for (int i = W; i < 64 * words; i++) /* the unused bits of the top word are zero, always */
        assert_false(v.word(i / 64) >> (i % 64) & 1);
}

static uint64_t low64(const bits &b)
{
    uint64_t v = 0;
    for (int i = 0; i < 64; i++)
        v |= static_cast<uint64_t>(b.at(i)) << i;
    return v;
}

template <int W> static void one_width()
{
    const bits a = draw(W);
    const ap_uint<W> x = value<W>(a);
    expect(x, a);
    assert_true(x.to_uint64() == low64(a));
    assert_true(x.to_uint() == static_cast<unsigned>(low64(a)));

    bits inverse(W);
    unsigned ones = 0;
    for (int i = 0; i < W; i++) {
        inverse.put(i, !a.at(i));
        ones += a.at(i);
    }
    expect(~x, inverse);
    assert_int_equal(x.or_reduce(), ones > 0);
    assert_int_equal(x.and_reduce(), ones == W);
    assert_int_equal(x.xor_reduce(), ones & 1);

    const int n = static_cast<int>(dice->below(W + 70));
    bits left(W), right(W);
    for (int i = 0; i < W; i++) {
        left.put(i, a.at(i - n));
        right.put(i, a.at(i + n));
    }
    expect(x << n, left);
    expect(x >> static_cast<unsigned>(n), right);
    expect(x >> -n, left);

    /* a range read, and written with a value of any width */
    const int lo = static_cast<int>(dice->below(W)), hi = lo + static_cast<int>(dice->below(static_cast<uint64_t>(W - lo)));
    bits cut(W), mixed = a;
    const bits other = draw(W);
    for (int i = lo; i <= hi; i++) {
        cut.put(i - lo, a.at(i));
        mixed.put(i, other.at(i - lo));
    }
    const ap_uint<W> y = value<W>(other);
    ap_uint<W> z = x;
    const ap_uint<W> part = x.range(hi, lo), same = z(hi, lo);
    expect(part, cut);
    expect(same, cut);
    assert_true(x.range(hi, lo).to_uint64() == low64(cut));
    z.range(hi, lo) = y;
    expect(z, mixed);
    z = x;
    z(hi, lo) = y.range(hi - lo, 0);
    expect(z, mixed);
    z = x;
    ap_uint<W> w = y;
    z.range(hi, lo) = w.range(hi - lo, 0);
    expect(z, mixed);
    z = x;
    z.range(hi, lo) = low64(other);
    for (int i = lo; i <= hi; i++)
        mixed.put(i, i - lo < 64 && other.at(i - lo));
    expect(z, mixed);
    assert_true(z == x || z.range(hi, lo).get() != part);

    z = x;
    z[lo] = z[hi];
    bits moved = a;
    moved.put(lo, a.at(hi));
    expect(z, moved);
    z.set(hi);
    moved.put(hi, true);
    expect(z, moved);
    z.clear(lo);
    moved.put(lo, false);
    expect(z, moved);

    bits one(W);
    one.put(0, true);
    z = x;
    expect(z++, a);
    expect(z, sum(a, one, false, W));
    expect(--z, a);
    expect(--z, sum(a, one, true, W));
}

template <int A, int B> static void two_widths()
{
    enum { M = A > B ? A : B };
    const bits a = draw(A), b = dice->below(4) == 0 ? a.as(B) : draw(B);
    const ap_uint<A> x = value<A>(a);
    const ap_uint<B> y = value<B>(b);
    bits both(M), any(M), one(M);
    for (int i = 0; i < M; i++) {
        both.put(i, a.at(i) && b.at(i));
        any.put(i, a.at(i) || b.at(i));
        one.put(i, a.at(i) != b.at(i));
    }
    expect(x & y, both);
    expect(x | y, any);
    expect(x ^ y, one);
    expect(x + y, sum(a, b, false, M + 1));
    const auto d = x - y;
    const ap_uint<M + 1> narrow = d;
    const ap_uint<M + 200> wide = d;
    expect(narrow, sum(a, b, true, M + 1));
    expect(wide, sum(a, b, true, M + 1).as_signed(M + 200));
    assert_int_equal(d.is_negative(), compare(a, b) < 0);
    assert_true(d.to_uint64() == low64(sum(a, b, true, M + 64)));
    ap_uint<A> z = x;
    expect(z += y, sum(a, b, false, A));
    z = x;
    expect(z -= y, sum(a, b, true, A));
    z = x;
    expect(z &= y, both.as(A));
    z = x;
    expect(z |= y, any.as(A));
    z = x;
    expect(z ^= y, one.as(A));
    z = y;
    expect(z, b.as(A));

    const int c = compare(a, b);
    assert_int_equal(x == y, c == 0);
    assert_int_equal(x != y, c != 0);
    assert_int_equal(x < y, c < 0);
    assert_int_equal(x > y, c > 0);
    assert_int_equal(x <= y, c <= 0);
    assert_int_equal(x >= y, c >= 0);

    bits joined(A + B);
    for (int i = 0; i < A + B; i++)
        joined.put(i, i < B ? b.at(i) : a.at(i - B));
    expect((x, y), joined);
    expect(x.concat(y), joined);
}

static void test_one_width(void **)
{
    for (int i = 0; i < 300; i++) {
        one_width<1>();
        one_width<5>();
        one_width<8>();
        one_width<31>();
        one_width<32>();
        one_width<63>();
        one_width<64>();
        one_width<65>();
        one_width<127>();
        one_width<128>();
        one_width<129>();
        one_width<512>();
        one_width<1000>();
        one_width<1024>();
    }
}

static void test_two_widths(void **)
{
    for (int i = 0; i < 200; i++) {
        two_widths<1, 1>();
        two_widths<8, 8>();
        two_widths<8, 13>();
        two_widths<64, 64>();
        two_widths<63, 65>();
        two_widths<65, 63>();
        two_widths<128, 1>();
        two_widths<32, 512>();
        two_widths<512, 512>();
        two_widths<512, 500>();
        two_widths<1024, 129>();
    }
}

static void test_integers(void **)
{
    assert_true(ap_uint<512>(-1) == ~ap_uint<512>()); /* negative numbers are sign-extended */
    assert_true(ap_uint<70>(int8_t{-2}) == ~ap_uint<70>(1));
    assert_true(ap_uint<100>(uint32_t{0xffffffff}).to_uint64() == 0xffffffff);
    assert_true(ap_uint<8>(0x1234) == 0x34);
    assert_true(ap_uint<8>(0xff) + 1 == 0x100);
    assert_true((ap_uint<8>(1) - 2).to_int64() == -1);
    assert_true((ap_uint<8>(0xf0) & 0x30) == 0x30);
    assert_true((0x0f | ap_uint<8>(0xf0)) == 0xff);
    assert_true(ap_uint<16>(7) < 8u && 9 > ap_uint<16>(8) && ap_uint<16>(8) >= 8);
    ap_uint<64> x = 5;
    x += 3;
    x ^= 1u;
    assert_true(x == 9);
    x <<= 60;
    x >>= 60;
    assert_true(x == 9);
    const uint64_t plain = x;
    assert_true(plain == 9);
    if (ap_uint<1>(0))
        fail();
    static_assert(std::is_same<decltype(ap_uint<8>() + ap_uint<12>()), ap_uint<13>>::value, "one bit more");
    static_assert(std::is_same<decltype(ap_uint<8>() | ap_uint<12>()), ap_uint<12>>::value, "the wider one");
    static_assert(std::is_same<decltype(ap_uint<8>() << 3), ap_uint<8>>::value, "the left one");
    static_assert(ap_uint<77>::width == 77, "");
    static_assert(sizeof(ap_uint<512>) == 64, "no more than the words");
}

static void test_axi(void **)
{
    ap_axiu<512, 0, 0, 0> beat;
    beat.keep = -1;
    beat.strb = ~ap_uint<64>(0);
    beat.last = true;
    for (int i = 0; i < 64; i++)
        beat.data.range(8 * i + 7, 8 * i) = i;
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++)
            assert_true((beat.data.range(64 * i + 63, 64 * i).to_uint64() >> (8 * j) & 0xff) == static_cast<unsigned>(8 * i + j));
    const ap_axiu<512, 0, 0, 0> copy = beat;
    assert_true(copy.data == beat.data && copy.last && copy.keep == copy.strb);
    static_assert(decltype(ap_axiu<64, 16, 0, 3>::user)::width == 16 && decltype(ap_axiu<64, 16, 0, 3>::dest)::width == 3, "");
}

int main()
{
    sim::random_source random(sim::test_seed());
    dice = &random;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_width),
        cmocka_unit_test(test_two_widths),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_axi),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
