// SPDX-License-Identifier: Apache-2.0
/*
 * sluice-xclbin: writes the .xclbin of the simulated card.
 *
 * usage: sluice-xclbin DESCRIPTION.json KERNELS.so OUTPUT.xclbin
 *
 * The description:
 *   {"platform": "sluice_sim",
 *    "memory": [{"name": "HBM[0]", "type": "HBM", "size_kb": 4194304, "base": "0x0"}],
 *    "kernels": [{"name": "vadd", "range": 4096,
 *      "arguments": [{"name": "a", "type": "uint*", "memory": "HBM[0]"}, {"name": "count", "type": "uint"}],
 *      "units": [{"name": "vadd_1", "base": "0x1800000", "memory": {"a": "HBM[0]"}}]}]}
 *
 * A type with a star is a pointer to device memory; "uchar" has one byte, "uint", "int" have 4, "ulong", "long" 8; a "stream" has
 * no register. Registers are laid out as Vitis HLS does: from 0x10 on, 8 bytes for a scalar of up to 4, 12 for one of 8 and for a
 * pointer. What a unit says of an argument's memory is true for that unit only. A kernel with "free_running": true has no
 * registers, its units no base: hosts see that they are there. The same input gives the same file.
 */
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uuid/uuid.h>
#include <xclbin.h>

#include "image.h"

enum { MAX_BANKS = 64, MAX_CONNECTIONS = 4096, XML_MAX = 1 << 20, SECTIONS = 5, FIRST_REGISTER = 0x10 };

#define NO_BASE UINT64_MAX // as XRT has it

struct bank {
    const char *name;
    uint8_t type;
    uint64_t size_kb, base;
};

struct cu {
    const char *kernel, *name;
    uint64_t base; // NO_BASE: free-running
    json_t *arguments, *memory;
};

struct design {
    const char *platform;
    struct bank banks[MAX_BANKS];
    size_t bank_count;
    struct cu units[IMAGE_MAX_UNITS]; // by base address
    size_t unit_count;
    char xml[XML_MAX];
    size_t xml_length;
};

struct section {
    uint32_t kind;
    const char *name;
    void *data;
    size_t size;
};

static _Noreturn void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("sluice-xclbin: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

/* Names stand in XML unquoted and in fields of fixed length. */
static const char *name_in(json_t *object, const char *key, size_t most)
{
    const char *text = json_string_value(json_object_get(object, key));
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_[]";
    if (!text || text[0] == '\0' || strlen(text) > most || text[strspn(text, good)] != '\0')
        fail("\"%s\" must be a name of letters, digits, _ and [], at most %zu", key, most);
    return text;
}

/* A number, or a string as for strtoull. */
static uint64_t number_in(json_t *object, const char *key, uint64_t otherwise)
{
    json_t *value = json_object_get(object, key);
    if (!value)
        return otherwise;
    if (json_is_integer(value) && json_integer_value(value) >= 0)
        return (uint64_t)json_integer_value(value);
    const char *text = json_string_value(value);
    char *end;
    uint64_t number = text ? strtoull(text, &end, 0) : 0;
    if (!text || text[0] == '\0' || *end != '\0')
        fail("\"%s\" must be a number", key);
    return number;
}

static void xml(struct design *design, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t room = sizeof design->xml - design->xml_length;
    int length = vsnprintf(design->xml + design->xml_length, room, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= room)
        fail("too many kernels");
    design->xml_length += (size_t)length;
}

static void read_banks(struct design *design, json_t *banks)
{
    static const struct {
        const char *name;
        uint8_t type;
    } types[] = {{"DDR4", MEM_DDR4}, {"HBM", MEM_HBM}, {"HOST", MEM_HOST}};
    json_t *object;
    size_t i;
    if (json_array_size(banks) == 0 || json_array_size(banks) > MAX_BANKS)
        fail("\"memory\" must have 1 to %d banks", MAX_BANKS);
    json_array_foreach(banks, i, object)
    {
        struct bank *bank = &design->banks[design->bank_count++];
        const char *type = json_object_get(object, "type") ? name_in(object, "type", 15) : "DDR4";
        size_t t = 0;
        while (t < sizeof types / sizeof types[0] && strcmp(types[t].name, type) != 0)
            t++;
        if (t == sizeof types / sizeof types[0])
            fail("\"type\" of a memory must be DDR4, HBM or HOST");
        *bank = (struct bank){name_in(object, "name", 15), types[t].type, number_in(object, "size_kb", 4 << 20),
                              number_in(object, "base", 0)};
    }
}

static int32_t bank_of(const struct design *design, const struct cu *unit, json_t *argument)
{
    json_t *own = json_object_get(unit->memory, json_string_value(json_object_get(argument, "name")));
    const char *name = json_string_value(own ? own : json_object_get(argument, "memory"));
    if (!name)
        return 0;
    for (size_t i = 0; i < design->bank_count; i++)
        if (strcmp(design->banks[i].name, name) == 0)
            return (int32_t)i;
    fail("no memory has the name %s", name);
}

struct type {
    const char *name;
    unsigned size;
};

/* The size of a scalar or, without the star, of what a pointer points to. */
static unsigned size_of(const char *type, size_t length)
{
    static const struct type types[] = {{"uchar", 1}, {"int", 4}, {"uint", 4}, {"long", 8}, {"ulong", 8}};
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++)
        if (strlen(types[t].name) == length && strncmp(types[t].name, type, length) == 0)
            return types[t].size;
    fail("\"type\" of an argument must be uchar, int, uint, long or ulong, a pointer to such, or stream");
}

static void write_argument(struct design *design, json_t *argument, size_t index, uint32_t *offset, uint32_t range)
{
    enum { SCALAR, POINTER, STREAM = 4 }; // as XRT has them
    const char *type = json_string_value(json_object_get(argument, "type"));
    const char *name = name_in(argument, "name", 63);
    size_t length = type ? strlen(type) : 0;
    bool pointer = length > 1 && type[length - 1] == '*';
    if (length > 0 && strcmp(type, "stream") == 0) {
        xml(design,
            "<arg name=\"%s\" addressQualifier=\"%d\" id=\"%zu\" port=\"%s\" size=\"0x40\" offset=\"0x0\" hostOffset=\"0x0\" "
            "hostSize=\"0x40\" type=\"stream\"/>\n",
            name, STREAM, index, name);
        return;
    }
    unsigned size = size_of(type ? type : "", pointer ? length - 1 : length);
    if (pointer)
        size = 8;
    xml(design,
        "<arg name=\"%s\" addressQualifier=\"%d\" id=\"%zu\" port=\"%s\" size=\"0x%x\" offset=\"0x%x\" hostOffset=\"0x0\" "
        "hostSize=\"0x%x\" type=\"%s\"/>\n",
        name, pointer ? POINTER : SCALAR, index, pointer ? "M_AXI_GMEM" : "S_AXI_CONTROL", size, *offset, size, type);
    *offset += size <= 4 ? 8 : 12;
    if (*offset > range)
        fail("the arguments don't fit into the register map");
}

static void check_base(const struct design *design, const struct cu *unit)
{
    if (unit->base % 0x10000 != 0 || unit->base == 0 || unit->base > 0xffff0000U)
        fail("\"base\" of %s must be a multiple of 64 KiB below 4 GiB", unit->name);
    for (const struct cu *other = design->units; other < unit; other++)
        if (other->base == unit->base)
            fail("two units at one \"base\"");
}

static void read_units(struct design *design, json_t *kernel, json_t *arguments, bool free_running)
{
    json_t *object;
    size_t i;
    json_array_foreach(json_object_get(kernel, "units"), i, object)
    {
        if (design->unit_count == IMAGE_MAX_UNITS)
            fail("more than %d units", IMAGE_MAX_UNITS);
        struct cu *unit = &design->units[design->unit_count++];
        *unit = (struct cu){name_in(kernel, "name", 31), name_in(object, "name", 31),
                            free_running ? NO_BASE : number_in(object, "base", 0), arguments, json_object_get(object, "memory")};
        xml(design, "<instance name=\"%s\">", unit->name);
        if (!free_running) {
            check_base(design, unit);
            xml(design, "<addrRemap base=\"0x%llx\" range=\"0x10000\" port=\"S_AXI_CONTROL\"/>", (unsigned long long)unit->base);
        }
        xml(design, "</instance>\n");
    }
}

static void read_kernel(struct design *design, json_t *kernel)
{
    json_t *argument, *arguments = json_object_get(kernel, "arguments");
    size_t index;
    uint64_t range = number_in(kernel, "range", 0x1000);
    uint32_t offset = FIRST_REGISTER;
    bool free_running = json_is_true(json_object_get(kernel, "free_running"));
    if (range < 64 || range > IMAGE_MAX_RANGE || range % 4 != 0)
        fail("\"range\" must be 64 to 65536");
    xml(design, "<kernel name=\"%s\" language=\"c\" attributes=\"\" hwControlProtocol=\"%s\">\n", name_in(kernel, "name", 31),
        free_running ? "ap_ctrl_none" : "ap_ctrl_hs");
    if (!free_running) {
        xml(design,
            "<port name=\"S_AXI_CONTROL\" mode=\"slave\" range=\"0x%x\" dataWidth=\"32\" portType=\"addressable\" base=\"0x0\"/>\n",
            (unsigned)range);
        xml(design, "<port name=\"M_AXI_GMEM\" mode=\"master\" range=\"0xFFFFFFFF\" dataWidth=\"512\" portType=\"addressable\" "
                    "base=\"0x0\"/>\n");
    }
    if (json_array_size(arguments) > IMAGE_MAX_ARGUMENTS)
        fail("more than %d arguments", IMAGE_MAX_ARGUMENTS);
    json_array_foreach(arguments, index, argument)
    {
        write_argument(design, argument, index, &offset, (uint32_t)range);
    }
    if (free_running && offset != FIRST_REGISTER)
        fail("a free-running kernel has streams only");
    read_units(design, kernel, arguments, free_running);
    xml(design, "</kernel>\n");
}

static void read_kernels(struct design *design, json_t *kernels)
{
    json_t *kernel;
    size_t i;
    bool started = false;
    json_array_foreach(kernels, i, kernel)
    {
        read_kernel(design, kernel);
    }
    for (i = 0; i < design->unit_count; i++)
        started = started || design->units[i].base != NO_BASE;
    if (!started)
        fail("there is no unit that a host could start");
}

static int by_base(const void *a, const void *b)
{
    const struct cu *left = a, *right = b;
    int names = strcmp(left->name, right->name);
    return left->base == right->base ? names : left->base > right->base ? 1 : -1;
}

static void read_design(struct design *design, json_t *root)
{
    design->platform = name_in(root, "platform", 63);
    read_banks(design, json_object_get(root, "memory"));
    xml(design,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<project name=\"%s\">\n<platform vendor=\"sluice\" boardid=\"sim\" "
        "name=\"%s\">\n"
        "<device name=\"fpga0\">\n<core name=\"OCL_REGION_0\" target=\"csim\" type=\"clc_region\">\n",
        design->platform, design->platform);
    read_kernels(design, json_object_get(root, "kernels"));
    xml(design, "</core>\n</device>\n</platform>\n</project>\n");
    qsort(design->units, design->unit_count, sizeof design->units[0], by_base);
}

/* Zeroed, and never less than the struct with its one element. */
static void *table(size_t header, size_t one, size_t count, size_t *size)
{
    *size = header + one * count;
    void *bytes = calloc(1, *size + one);
    if (!bytes)
        fail("no memory");
    return bytes;
}

static struct section memory_section(const struct design *design)
{
    struct section section = {MEM_TOPOLOGY, "mem_topology", NULL, 0};
    struct mem_topology *topology =
        table(offsetof(struct mem_topology, m_mem_data), sizeof(struct mem_data), design->bank_count, &section.size);
    struct mem_data *data = topology->m_mem_data;
    topology->m_count = (int32_t)design->bank_count;
    for (size_t i = 0; i < design->bank_count; i++) {
        const struct bank *bank = &design->banks[i];
        data[i] = (struct mem_data){.m_type = bank->type, .m_used = 1, .m_size = bank->size_kb, .m_base_address = bank->base};
        memcpy(data[i].m_tag, bank->name, strlen(bank->name));
    }
    section.data = topology;
    return section;
}

static struct section layout_section(const struct design *design)
{
    struct section section = {IP_LAYOUT, "ip_layout", NULL, 0};
    struct ip_layout *layout =
        table(offsetof(struct ip_layout, m_ip_data), sizeof(struct ip_data), design->unit_count, &section.size);
    struct ip_data *data = layout->m_ip_data;
    layout->m_count = (int32_t)design->unit_count;
    for (size_t i = 0; i < design->unit_count; i++) {
        const struct cu *unit = &design->units[i];
        data[i] = (struct ip_data){.m_type = IP_KERNEL, .properties = IP_INT_ENABLE_MASK, .m_base_address = unit->base};
        data[i].properties |= (uint32_t)(i << IP_INTERRUPT_ID_SHIFT) & IP_INTERRUPT_ID_MASK;
        data[i].properties |= (uint32_t)AP_CTRL_HS << IP_CONTROL_SHIFT;
        if (unit->base == NO_BASE)
            data[i].properties = (uint32_t)AP_CTRL_NONE << IP_CONTROL_SHIFT;
        snprintf((char *)data[i].m_name, sizeof data[i].m_name, "%s:%s", unit->kernel, unit->name);
    }
    section.data = layout;
    return section;
}

static struct section connectivity_section(const struct design *design)
{
    struct section section = {CONNECTIVITY, "connectivity", NULL, 0};
    size_t count = 0;
    struct connectivity *all =
        table(offsetof(struct connectivity, m_connection), sizeof(struct connection), MAX_CONNECTIONS, &section.size);
    struct connection *connections = all->m_connection;
    for (size_t i = 0; i < design->unit_count; i++) {
        json_t *argument;
        size_t index;
        json_array_foreach(design->units[i].arguments, index, argument)
        {
            if (!strchr(json_string_value(json_object_get(argument, "type")), '*'))
                continue;
            if (count == MAX_CONNECTIONS)
                fail("more than %d connections", MAX_CONNECTIONS);
            connections[count++] = (struct connection){(int32_t)index, (int32_t)i, bank_of(design, &design->units[i], argument)};
        }
    }
    all->m_count = (int32_t)count;
    section.size = offsetof(struct connectivity, m_connection) + count * sizeof(struct connection);
    section.data = all;
    return section;
}

static struct section file_section(const char *path)
{
    struct section section = {BITSTREAM, "bitstream", NULL, 0};
    FILE *file = fopen(path, "rbe");
    struct stat status;
    if (!file || fstat(fileno(file), &status) != 0 || status.st_size <= 0)
        fail("can't read %s", path);
    section.size = (size_t)status.st_size;
    section.data = malloc(section.size);
    if (!section.data || fread(section.data, 1, section.size, file) != section.size)
        fail("can't read %s", path);
    fclose(file);
    return section;
}

/* Everything but the uuid, which is a hash of it. */
static uint8_t *assemble(const struct design *design, const struct section sections[SECTIONS], size_t *size)
{
    size_t at = (sizeof(struct axlf) + (SECTIONS - 1) * sizeof(struct axlf_section_header) + 7) & ~(size_t)7;
    *size = at;
    for (size_t i = 0; i < SECTIONS; i++)
        *size += (sections[i].size + 7) & ~(size_t)7;
    uint8_t *bytes = calloc(1, *size);
    if (!bytes)
        fail("no memory");
    struct axlf *top = (struct axlf *)(void *)bytes;
    struct axlf_section_header *headers = top->m_sections;
    memcpy(top->m_magic, "xclbin2", 8);
    top->m_signature_length = -1;
    memset(top->reserved, 0xff, sizeof top->reserved);
    memset(top->m_keyBlock, 0xff, sizeof top->m_keyBlock);
    top->m_header.m_length = *size;
    top->m_header.m_versionMajor = 2;
    top->m_header.m_mode = XCLBIN_SW_EMU;
    top->m_header.m_numSections = SECTIONS;
    snprintf((char *)top->m_header.m_platformVBNV, sizeof top->m_header.m_platformVBNV, "%s", design->platform);
    for (size_t i = 0; i < SECTIONS; i++) {
        headers[i] = (struct axlf_section_header){
            .m_sectionKind = sections[i].kind, .m_sectionOffset = at, .m_sectionSize = sections[i].size};
        snprintf(headers[i].m_sectionName, sizeof headers[i].m_sectionName, "%s", sections[i].name);
        memcpy(bytes + at, sections[i].data, sections[i].size);
        at += (sections[i].size + 7) & ~(size_t)7;
    }
    return bytes;
}

static void name_it(uint8_t *bytes, size_t size)
{
    static const uuid_t space = {0x5c, 0x1c, 0xe0, 0x0d, 0x3a, 0x51, 0x4f, 0x0e, 0x9b, 0x11, 0x60, 0x2a, 0x7e, 0x4d, 0xc4, 0x21};
    struct axlf *top = (struct axlf *)(void *)bytes;
    uuid_t name;
    uuid_generate_sha1(name, space, (const char *)bytes, size);
    memcpy(top->m_header.uuid, name, sizeof name);
    memcpy(&top->m_uniqueId, name, sizeof top->m_uniqueId);
}

static void write_file(const char *path, const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "wbe");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
        unlink(path);
        fail("can't write %s", path);
    }
}

int main(int count, char **arguments)
{
    static struct design design;
    json_error_t error;
    size_t size;
    if (count != 4) {
        fputs("usage: sluice-xclbin DESCRIPTION.json KERNELS.so OUTPUT.xclbin\n", stderr);
        return 2;
    }
    json_t *root = json_load_file(arguments[1], JSON_REJECT_DUPLICATES, &error);
    if (!root)
        fail("%s:%d: %s", arguments[1], error.line, error.text);
    read_design(&design, root);
    struct section sections[SECTIONS] = {file_section(arguments[2]),
                                         {EMBEDDED_METADATA, "embedded_meta", design.xml, design.xml_length},
                                         memory_section(&design),
                                         layout_section(&design),
                                         connectivity_section(&design)};
    uint8_t *bytes = assemble(&design, sections, &size);
    name_it(bytes, size);
    write_file(arguments[3], bytes, size);
    free(bytes);
    for (size_t i = 0; i < SECTIONS; i++)
        if (sections[i].data != design.xml)
            free(sections[i].data);
    json_decref(root);
    return 0;
}
