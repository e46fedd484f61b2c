/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ap_uint<W>, the unsigned integer of any width of Vitis HLS, for g++ and clang: as much of it as kernels need at their ports,
 * under Vitis' names, so that Vitis' header or the public ap_int headers take this one's place by include path alone.
 *
 * The value lies in 64-bit words, the lowest first; bits from W upwards are zero. A range of at most 64 bits with constant ends is
 * a load or a store and a few shifts. Differences to Vitis: a bit or range out of bounds ends the program, as does a range with hi
 * < lo (Vitis mirrors its bits); a new value is zero.
 *
 * Widths of results are Vitis': & | ^ the wider operand, ~ << >> the left operand, + one bit more, - one bit more and signed.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <type_traits>

template <int W> class ap_uint;

namespace ap_sim
{

inline void require(bool holds, const char *what)
{
    if (__builtin_expect(!holds, 0)) {
        fprintf(stderr, "ap_uint: %s\n", what);
        abort();
    }
}

constexpr int wider(int a, int b)
{
    return a > b ? a : b;
}

/* The low n bits set, n in 0..64. */
constexpr uint64_t mask(int n)
{
    return n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
}

template <typename I> using if_integral = typename std::enable_if<std::is_integral<I>::value, int>::type;

/* Width of a built-in integer as an operand. */
template <typename I> constexpr int width_of()
{
    return std::is_same<I, bool>::value ? 1 : static_cast<int>(8 * sizeof(I));
}

/* The bits hi..lo of an object; what it says is an ap_uint<W> in which the rest is zero, as in Vitis. */
template <int W> class const_range
{
  public:
    const_range(const ap_uint<W> &of, int hi, int lo) : m_of(of), m_hi(hi), m_lo(lo)
    {
        require(lo >= 0 && lo <= hi && hi < W, "range out of bounds");
    }
    int length() const
    {
        return m_hi - m_lo + 1;
    }
    uint64_t to_uint64() const
    {
        return m_of.bits_at(m_lo) & mask(length());
    }
    unsigned to_uint() const
    {
        return static_cast<unsigned>(to_uint64());
    }
    int to_int() const
    {
        return static_cast<int>(to_uint());
    }
    operator uint64_t() const
    {
        return to_uint64();
    }
    ap_uint<W> get() const
    {
        ap_uint<W> v;
        const int n = length();
        for (int at = 0; at < n; at += 64)
            v.set_word(at / 64, m_of.bits_at(m_lo + at) & mask(n - at));
        return v;
    }

  private:
    const ap_uint<W> &m_of;
    const int m_hi, m_lo;
};

template <int W> class range
{
  public:
    range(ap_uint<W> &of, int hi, int lo) : m_of(of), m_hi(hi), m_lo(lo)
    {
        require(lo >= 0 && lo <= hi && hi < W, "range out of bounds");
    }
    range(const range &) = default;
    int length() const
    {
        return m_hi - m_lo + 1;
    }
    uint64_t to_uint64() const
    {
        return m_of.bits_at(m_lo) & mask(length());
    }
    unsigned to_uint() const
    {
        return static_cast<unsigned>(to_uint64());
    }
    int to_int() const
    {
        return static_cast<int>(to_uint());
    }
    operator uint64_t() const
    {
        return to_uint64();
    }
    ap_uint<W> get() const
    {
        return const_range<W>(m_of, m_hi, m_lo).get();
    }
    template <int N> range &operator=(const ap_uint<N> &v)
    {
        const int n = length();
        for (int at = 0; at < n; at += 64)
            m_of.put_bits(m_lo + at, n - at < 64 ? n - at : 64, at < N ? v.word(at / 64) : 0);
        return *this;
    }
    template <typename I, if_integral<I> = 0> __attribute__((always_inline)) range &operator=(I v)
    {
        if (length() <= 64)
            m_of.put_bits(m_lo, length(), static_cast<uint64_t>(v));
        else
            *this = ap_uint<W>(v);
        return *this;
    }
    template <int N> range &operator=(const range<N> &v)
    {
        return *this = v.get();
    }
    template <int N> range &operator=(const const_range<N> &v)
    {
        return *this = v.get();
    }
    range &operator=(const range &v)
    {
        return *this = v.get();
    }

  private:
    ap_uint<W> &m_of;
    const int m_hi, m_lo;
};

template <int A, int B> bool operator==(const range<A> &a, const range<B> &b)
{
    return a.get() == b.get();
}
template <int A, int B> bool operator!=(const range<A> &a, const range<B> &b)
{
    return a.get() != b.get();
}
template <int A, int B> bool operator==(const range<A> &a, const ap_uint<B> &b)
{
    return a.get() == b;
}
template <int A, int B> bool operator!=(const range<A> &a, const ap_uint<B> &b)
{
    return a.get() != b;
}
template <int A, int B> bool operator==(const ap_uint<A> &a, const range<B> &b)
{
    return a == b.get();
}
template <int A, int B> bool operator!=(const ap_uint<A> &a, const range<B> &b)
{
    return a != b.get();
}

template <int W> class bit
{
  public:
    bit(ap_uint<W> &of, int at) : m_of(of), m_at(at)
    {
        require(at >= 0 && at < W, "bit out of bounds");
    }
    bit(const bit &) = default;
    operator bool() const
    {
        return (m_of.word(m_at / 64) >> (m_at % 64) & 1) != 0;
    }
    bool to_bool() const
    {
        return *this;
    }
    bit &operator=(bool v)
    {
        m_of.put_bits(m_at, 1, v);
        return *this;
    }
    bit &operator=(const bit &v)
    {
        return *this = static_cast<bool>(v);
    }

  private:
    ap_uint<W> &m_of;
    const int m_at;
};

/* a - b is signed: it knows its sign when it is given to something wider. W includes the sign bit. */
template <int W> class difference
{
  public:
    explicit difference(const ap_uint<W> &bits) : m_bits(bits)
    {
    }
    template <int N> operator ap_uint<N>() const
    {
        ap_uint<N> v(m_bits);
        for (int at = W; at < N && is_negative(); at += 64 - at % 64)
            v.put_bits(at, N - at < 64 - at % 64 ? N - at : 64 - at % 64, ~uint64_t{0});
        return v;
    }
    bool is_negative() const
    {
        return m_bits.test(W - 1);
    }
    int64_t to_int64() const
    {
        return static_cast<int64_t>(to_uint64());
    }
    uint64_t to_uint64() const
    {
        return m_bits.to_uint64() | (is_negative() ? ~mask(W) : 0);
    }
    unsigned to_uint() const
    {
        return static_cast<unsigned>(to_uint64());
    }
    int to_int() const
    {
        return static_cast<int>(to_uint());
    }

  private:
    ap_uint<W> m_bits;
};

} // namespace ap_sim

template <int W> class ap_uint
{
    static_assert(W >= 1 && W <= 8192, "a width that Vitis takes");
    enum { words = (W + 63) / 64, top_bits = W - 64 * (words - 1) };

  public:
    enum { width = W };

    ap_uint() : m_word()
    {
    }
    /* Negative numbers are sign-extended to W bits. */
    template <typename I, ap_sim::if_integral<I> = 0> ap_uint(I v)
    {
        m_word[0] = static_cast<uint64_t>(v);
        const uint64_t above = v < I{} ? ~uint64_t{0} : 0;
        for (int i = 1; i < words; i++)
            m_word[i] = above;
        trim();
    }
    template <int N> ap_uint(const ap_uint<N> &v)
    {
        for (int i = 0; i < words; i++)
            m_word[i] = 64 * i < N ? v.word(i) : 0;
        trim();
    }
    template <int N> ap_uint(const ap_sim::range<N> &v)
    {
        if (W <= 64 || v.length() <= 64)
            *this = ap_uint(v.to_uint64());
        else
            *this = ap_uint(v.get());
    }
    template <int N> ap_uint(const ap_sim::const_range<N> &v)
    {
        if (W <= 64 || v.length() <= 64)
            *this = ap_uint(v.to_uint64());
        else
            *this = ap_uint(v.get());
    }
    template <int N> ap_uint(const ap_sim::bit<N> &v) : ap_uint(static_cast<bool>(v))
    {
    }

    static constexpr int length()
    {
        return W;
    }
    uint64_t to_uint64() const
    {
        return m_word[0];
    }
    unsigned long to_ulong() const
    {
        return static_cast<unsigned long>(m_word[0]);
    }
    int64_t to_int64() const
    {
        return static_cast<int64_t>(m_word[0]);
    }
    unsigned to_uint() const
    {
        return static_cast<unsigned>(m_word[0]);
    }
    int to_int() const
    {
        return static_cast<int>(m_word[0]);
    }
    bool to_bool() const
    {
        return *this != ap_uint();
    }
    /* As in Vitis, a wider value loses what is above 64 bits. */
    operator uint64_t() const
    {
        return m_word[0];
    }

    ap_sim::range<W> range(int hi, int lo)
    {
        return ap_sim::range<W>(*this, hi, lo);
    }
    ap_sim::const_range<W> range(int hi, int lo) const
    {
        return ap_sim::const_range<W>(*this, hi, lo);
    }
    ap_sim::range<W> operator()(int hi, int lo)
    {
        return range(hi, lo);
    }
    ap_sim::const_range<W> operator()(int hi, int lo) const
    {
        return range(hi, lo);
    }
    ap_sim::bit<W> operator[](int at)
    {
        return ap_sim::bit<W>(*this, at);
    }
    bool operator[](int at) const
    {
        return test(at);
    }
    bool test(int at) const
    {
        ap_sim::require(at >= 0 && at < W, "bit out of bounds");
        return (m_word[at / 64] >> (at % 64) & 1) != 0;
    }
    bool get_bit(int at) const
    {
        return test(at);
    }
    void set_bit(int at, bool v)
    {
        (*this)[at] = v;
    }
    void set(int at)
    {
        set_bit(at, true);
    }
    void clear(int at)
    {
        set_bit(at, false);
    }
    bool or_reduce() const
    {
        return to_bool();
    }
    bool and_reduce() const
    {
        return !(~*this).to_bool();
    }
    bool xor_reduce() const
    {
        uint64_t all = 0;
        for (int i = 0; i < words; i++)
            all ^= m_word[i];
        return (__builtin_popcountll(all) & 1) != 0;
    }
    template <int N> ap_uint<W + N> concat(const ap_uint<N> &low) const
    {
        ap_uint<W + N> v(low);
        v.range(W + N - 1, N) = *this;
        return v;
    }

    ap_uint operator~() const
    {
        ap_uint v;
        for (int i = 0; i < words; i++)
            v.m_word[i] = ~m_word[i];
        v.trim();
        return v;
    }
    template <int N> ap_uint &operator&=(const ap_uint<N> &b)
    {
        for (int i = 0; i < words; i++)
            m_word[i] &= 64 * i < N ? b.word(i) : 0;
        return *this;
    }
    template <int N> ap_uint &operator|=(const ap_uint<N> &b)
    {
        for (int i = 0; i < words; i++)
            m_word[i] |= 64 * i < N ? b.word(i) : 0;
        trim();
        return *this;
    }
    template <int N> ap_uint &operator^=(const ap_uint<N> &b)
    {
        for (int i = 0; i < words; i++)
            m_word[i] ^= 64 * i < N ? b.word(i) : 0;
        trim();
        return *this;
    }
    template <int N> ap_uint &operator+=(const ap_uint<N> &b)
    {
        add(ap_uint(b), false);
        return *this;
    }
    template <int N> ap_uint &operator-=(const ap_uint<N> &b)
    {
        add(~ap_uint(b), true);
        return *this;
    }
    template <typename I, ap_sim::if_integral<I> = 0> ap_uint &operator&=(I b)
    {
        return *this &= ap_uint(b);
    }
    template <typename I, ap_sim::if_integral<I> = 0> ap_uint &operator|=(I b)
    {
        return *this |= ap_uint(b);
    }
    template <typename I, ap_sim::if_integral<I> = 0> ap_uint &operator^=(I b)
    {
        return *this ^= ap_uint(b);
    }
    template <typename I, ap_sim::if_integral<I> = 0> ap_uint &operator+=(I b)
    {
        return *this += ap_uint(b);
    }
    template <typename I, ap_sim::if_integral<I> = 0> ap_uint &operator-=(I b)
    {
        return *this -= ap_uint(b);
    }
    ap_uint &operator++()
    {
        return *this += 1;
    }
    ap_uint &operator--()
    {
        return *this -= 1;
    }
    ap_uint operator++(int)
    {
        const ap_uint before(*this);
        *this += 1;
        return before;
    }
    ap_uint operator--(int)
    {
        const ap_uint before(*this);
        *this -= 1;
        return before;
    }
    /* A negative n shifts the other way, n >= W leaves zero. */
    ap_uint &operator<<=(int n)
    {
        if (n < 0)
            return *this >>= -n;
        const int whole = n / 64, part = n % 64;
        for (int i = words - 1; i >= 0; i--) {
            uint64_t v = 0;
            if (i >= whole)
                v = m_word[i - whole] << part;
            if (part != 0 && i > whole)
                v |= m_word[i - whole - 1] >> (64 - part);
            m_word[i] = v;
        }
        trim();
        return *this;
    }
    ap_uint &operator>>=(int n)
    {
        if (n < 0)
            return *this <<= -n;
        for (int i = 0; i < words; i++)
            m_word[i] = n < W - 64 * i ? bits_at(n + 64 * i) : 0;
        return *this;
    }

    /* What follows is for the classes of this file. */
    uint64_t word(int i) const
    {
        return m_word[i];
    }
    void set_word(int i, uint64_t v)
    {
        m_word[i] = v;
        trim();
    }
    /* 64 bits from bit `at` (in 0..W-1) upwards. */
    __attribute__((always_inline)) uint64_t bits_at(int at) const
    {
        const int i = at / 64, part = at % 64;
        uint64_t v = m_word[i] >> part;
        if (part != 0 && i + 1 < words)
            v |= m_word[i + 1] << (64 - part);
        return v;
    }
    /* The n (1..64) bits from bit `at` upwards become the low bits of v. at + n <= W. */
    __attribute__((always_inline)) void put_bits(int at, int n, uint64_t v)
    {
        const int i = at / 64, part = at % 64;
        if (n == 64 && part == 0) {
            m_word[i] = v;
            return;
        }
        const uint64_t all = ap_sim::mask(n);
        v &= all;
        m_word[i] = (m_word[i] & ~(all << part)) | v << part;
        if (part + n > 64 && i + 1 < words) {
            const int done = 64 - part;
            m_word[i + 1] = (m_word[i + 1] & ~(all >> done)) | v >> done;
        }
    }

  private:
    void trim()
    {
        m_word[words - 1] &= ap_sim::mask(top_bits);
    }
    void add(const ap_uint &b, bool carry)
    {
        uint64_t c = carry;
        for (int i = 0; i < words; i++) {
            const uint64_t sum = m_word[i] + b.m_word[i], whole = sum + c;
            c = (sum < m_word[i] ? 1u : 0u) | (whole < sum ? 1u : 0u);
            m_word[i] = whole;
        }
        trim();
    }

    uint64_t m_word[words];
};

template <int A, int B> ap_uint<ap_sim::wider(A, B)> operator&(const ap_uint<A> &a, const ap_uint<B> &b)
{
    return ap_uint<ap_sim::wider(A, B)>(a) &= b;
}
template <int A, int B> ap_uint<ap_sim::wider(A, B)> operator|(const ap_uint<A> &a, const ap_uint<B> &b)
{
    return ap_uint<ap_sim::wider(A, B)>(a) |= b;
}
template <int A, int B> ap_uint<ap_sim::wider(A, B)> operator^(const ap_uint<A> &a, const ap_uint<B> &b)
{
    return ap_uint<ap_sim::wider(A, B)>(a) ^= b;
}
template <int A, int B> ap_uint<ap_sim::wider(A, B) + 1> operator+(const ap_uint<A> &a, const ap_uint<B> &b)
{
    return ap_uint<ap_sim::wider(A, B) + 1>(a) += b;
}
template <int A, int B> ap_sim::difference<ap_sim::wider(A, B) + 1> operator-(const ap_uint<A> &a, const ap_uint<B> &b)
{
    return ap_sim::difference<ap_sim::wider(A, B) + 1>(ap_uint<ap_sim::wider(A, B) + 1>(a) -= b);
}
template <int A, typename I, ap_sim::if_integral<I> = 0> ap_uint<A> operator<<(ap_uint<A> a, I n)
{
    return a <<= static_cast<int>(n);
}
template <int A, typename I, ap_sim::if_integral<I> = 0> ap_uint<A> operator>>(ap_uint<A> a, I n)
{
    return a >>= static_cast<int>(n);
}
template <int A, int B> ap_uint<A> operator<<(ap_uint<A> a, const ap_uint<B> &n)
{
    return a <<= n.to_int();
}
template <int A, int B> ap_uint<A> operator>>(ap_uint<A> a, const ap_uint<B> &n)
{
    return a >>= n.to_int();
}
template <int A, int B> bool operator==(const ap_uint<A> &a, const ap_uint<B> &b)
{
    for (int i = 0; 64 * i < ap_sim::wider(A, B); i++)
        if ((64 * i < A ? a.word(i) : 0) != (64 * i < B ? b.word(i) : 0))
            return false;
    return true;
}
template <int A, int B> bool operator<(const ap_uint<A> &a, const ap_uint<B> &b)
{
    for (int i = (ap_sim::wider(A, B) - 1) / 64; i >= 0; i--) {
        const uint64_t x = 64 * i < A ? a.word(i) : 0, y = 64 * i < B ? b.word(i) : 0;
        if (x != y)
            return x < y;
    }
    return false;
}
template <int A, int B> bool operator!=(const ap_uint<A> &a, const ap_uint<B> &b)
{
    return !(a == b);
}
template <int A, int B> bool operator>(const ap_uint<A> &a, const ap_uint<B> &b)
{
    return b < a;
}
template <int A, int B> bool operator<=(const ap_uint<A> &a, const ap_uint<B> &b)
{
    return !(b < a);
}
template <int A, int B> bool operator>=(const ap_uint<A> &a, const ap_uint<B> &b)
{
    return !(a < b);
}
/* (high, low) side by side. */
template <int A, int B> ap_uint<A + B> operator,(const ap_uint<A> &a, const ap_uint<B> &b)
{
    return a.concat(b);
}

/* With a built-in integer on one side, which counts as an ap_uint of its width (at least as wide as the other operand). */
#define AP_SIM_WITH_INTEGER(op)                                                                                                    \
    template <int A, typename I, ap_sim::if_integral<I> = 0>                                                                       \
    auto operator op(const ap_uint<A> &a, I b)->decltype(a op ap_uint<ap_sim::wider(A, ap_sim::width_of<I>())>(b))                 \
    {                                                                                                                              \
        return a op ap_uint<ap_sim::wider(A, ap_sim::width_of<I>())>(b);                                                           \
    }                                                                                                                              \
    template <int A, typename I, ap_sim::if_integral<I> = 0>                                                                       \
    auto operator op(I b, const ap_uint<A> &a)->decltype(ap_uint<ap_sim::wider(A, ap_sim::width_of<I>())>(b) op a)                 \
    {                                                                                                                              \
        return ap_uint<ap_sim::wider(A, ap_sim::width_of<I>())>(b) op a;                                                           \
    }
AP_SIM_WITH_INTEGER(&)
AP_SIM_WITH_INTEGER(|)
AP_SIM_WITH_INTEGER(^)
AP_SIM_WITH_INTEGER(+)
AP_SIM_WITH_INTEGER(-)
AP_SIM_WITH_INTEGER(==)
AP_SIM_WITH_INTEGER(!=)
AP_SIM_WITH_INTEGER(<)
AP_SIM_WITH_INTEGER(>)
AP_SIM_WITH_INTEGER(<=)
AP_SIM_WITH_INTEGER(>=)
#undef AP_SIM_WITH_INTEGER
