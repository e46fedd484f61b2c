/* SPDX-License-Identifier: Apache-2.0 */
/* Randomness that can be had again: a seeded generator, and a gate that is shut for a given part of the time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace sim
{

/* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators). */
class random_source
{
  public:
    explicit random_source(uint64_t seed) : m_state(seed)
    {
    }
    uint64_t bits()
    {
        uint64_t z = m_state += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
    }
    /* 0..n-1 */
    uint64_t below(uint64_t n)
    {
        return n == 0 ? 0 : bits() % n;
    }
    /* low..high, both included */
    uint64_t between(uint64_t low, uint64_t high)
    {
        return low + below(high - low + 1);
    }
    bool chance(double part)
    {
        return static_cast<double>(bits() >> 11) < part * 9007199254740992.0; /* 2^53 */
    }
    void fill(void *to, size_t bytes)
    {
        for (uint8_t *p = static_cast<uint8_t *>(to); bytes > 0; bytes--)
            *p++ = static_cast<uint8_t>(this->bits());
    }

  private:
    uint64_t m_state;
};

/* Shut in that part of the cycles, mostly for single ones, now and then for up to 32 in a row. */
class gate
{
  public:
    explicit gate(double part = 0) : m_part(part)
    {
    }
    void set(double part)
    {
        m_part = part;
        m_left = 0;
    }
    bool shut(random_source &random)
    {
        if (m_part <= 0)
            return false;
        if (m_left == 0) {
            m_shut = random.chance(m_part);
            m_left = random.below(16) == 0 ? static_cast<unsigned>(random.between(1, 32)) : 1;
        }
        m_left--;
        return m_shut;
    }

  private:
    double m_part;
    unsigned m_left = 0;
    bool m_shut = false;
};

} // namespace sim
