/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hls::burst_maxi<T>: a memory port of a kernel as Vitis HLS names it, for T = ap_uint<W> of whole 64-bit words. Natively it is a
 * pointer into memory that another thread or process may look at: words are read and written as such, in ascending order, and a
 * write is seen after those before it. A copy knows of no request that was made with the original.
 */
#pragma once

#include <ap_int.h>
#include <stddef.h>

namespace hls
{

template <typename T> class burst_maxi
{
    enum : unsigned { words = T::width / 64, word_bytes = 8 };
    static_assert(T::width % 64 == 0, "whole words");

  public:
    burst_maxi(T *memory) : m_memory(reinterpret_cast<uint64_t *>(memory))
    {
    }

    void read_request(size_t offset, size_t)
    {
        m_read = m_memory + offset * words;
    }
    T read()
    {
        T value;
        for (unsigned i = 0; i < words; i++)
            value.set_word(static_cast<int>(i), __atomic_load_n(m_read + i, __ATOMIC_RELAXED));
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        m_read += words;
        return value;
    }

    void write_request(size_t offset, size_t)
    {
        m_write = m_memory + offset * words;
    }
    /* Byte i is written if bit i of the mask is set. */
    void write(const T &value, const ap_uint<T::width / 8> &mask = ~ap_uint<T::width / 8>())
    {
        __atomic_thread_fence(__ATOMIC_RELEASE);
        for (unsigned i = 0; i < words; i++) {
            const uint64_t enable = mask.bits_at(static_cast<int>(word_bytes * i)) & 0xff;
            if (enable == 0xff)
                __atomic_store_n(m_write + i, value.word(static_cast<int>(i)), __ATOMIC_RELAXED);
            else if (enable != 0)
                write_bytes(m_write + i, value.word(static_cast<int>(i)), enable);
        }
        m_write += words;
    }
    void write_response()
    {
    }

  private:
    static void write_bytes(uint64_t *to, uint64_t value, uint64_t enable)
    {
        uint8_t *const byte = reinterpret_cast<uint8_t *>(to);
        for (unsigned i = 0; i < word_bytes; i++)
            if ((enable >> i & 1) != 0)
                __atomic_store_n(byte + i, static_cast<uint8_t>(value >> 8 * i), __ATOMIC_RELAXED);
    }

    uint64_t *m_memory, *m_read = nullptr, *m_write = nullptr;
};

} // namespace hls
