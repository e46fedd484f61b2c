/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hls::stream<T> and hls::stream<T, Depth> as Vitis HLS names them, for g++ and clang, but bounded as on the card: Depth elements,
 * 2 without a Depth, as Vitis makes them there. What goes wrong is told with the stream's name (fifo.hpp, which also says what a
 * cycle-accurate run changes). Like Vitis', a stream<T, Depth> is a stream<T>, and streams cannot be copied.
 */
#pragma once

#include <new>
#include <stdlib.h>
#include <string>
#include <utility>

#include "fifo.hpp"

namespace hls
{

template <typename T, int Depth = 0> class stream;

template <typename T> class stream<T, 0> : public sim::fifo
{
  public:
    stream() : stream(std::string())
    {
    }
    explicit stream(const char *name) : stream(std::string(name))
    {
    }
    explicit stream(const std::string &name) : stream(name, 2)
    {
    }
    ~stream() override
    {
        check_leftover();
        discard();
        free(m_slot);
    }

    bool empty()
    {
        return timed() ? timed_empty() : m_count == 0;
    }
    bool full()
    {
        return timed() ? timed_full() : m_count >= m_depth;
    }
    unsigned size()
    {
        return timed() ? timed_size() : m_count;
    }
    unsigned capacity() const
    {
        return m_depth;
    }

    T read()
    {
        if (!may_read())
            return T();
        return take();
    }
    void read(T &element)
    {
        if (!may_read()) {
            element = T();
            return;
        }
        element = std::move(m_slot[m_head]);
        drop();
    }
    bool read_nb(T &element)
    {
        if (empty())
            return false;
        read(element);
        return true;
    }
    void write(const T &element)
    {
        if (may_write())
            new (m_slot + ((m_head + m_count++) & m_mask)) T(element);
    }
    bool write_nb(const T &element)
    {
        if (full())
            return false;
        write(element);
        return true;
    }
    void operator>>(T &element)
    {
        read(element);
    }
    void operator<<(const T &element)
    {
        write(element);
    }

    void discard() final
    {
        while (m_count > 0)
            drop();
        forget_all();
    }

  protected:
    stream(const std::string &name, unsigned depth) : fifo(name, depth)
    {
        resize(depth);
    }
    void reserve(unsigned elements) override
    {
        resize(elements);
    }

  private:
    bool may_read()
    {
        if (timed())
            return timed_read();
        if (__builtin_expect(m_count == 0, 0)) {
            underflow();
            return false;
        }
        return true;
    }
    bool may_write()
    {
        if (timed())
            return timed_write();
        if (__builtin_expect(m_count >= m_depth, 0)) {
            overflow();
            return false;
        }
        return true;
    }
    T take()
    {
        T element(std::move(m_slot[m_head]));
        drop();
        return element;
    }
    void drop()
    {
        m_slot[m_head].~T();
        m_head = --m_count == 0 ? 0 : (m_head + 1) & m_mask; /* an empty ring begins again where the cache is warm */
    }
    void resize(unsigned elements)
    {
        unsigned slots = 1;
        while (slots < elements)
            slots *= 2;
        const size_t align = alignof(T) > 64 ? alignof(T) : 64;
        const size_t bytes = (slots * sizeof(T) + align - 1) / align * align;
        T *slot = static_cast<T *>(aligned_alloc(align, bytes));
        if (slot == nullptr)
            abort();
        for (unsigned i = 0; i < m_count; i++) {
            T &old = m_slot[(m_head + i) & m_mask];
            new (slot + i) T(std::move(old));
            old.~T();
        }
        free(m_slot);
        m_slot = slot;
        m_head = 0;
        m_mask = slots - 1;
    }

    T *m_slot = nullptr;
};

template <typename T, int Depth> class stream : public stream<T, 0>
{
    static_assert(Depth > 0, "a FIFO of at least one element");

  public:
    stream() : stream(std::string())
    {
    }
    explicit stream(const char *name) : stream(std::string(name))
    {
    }
    explicit stream(const std::string &name) : stream<T, 0>(name, Depth)
    {
    }
};

} // namespace hls
