/* SPDX-License-Identifier: Apache-2.0 */
/* The script is run by bash as a shell would: words typed so far, the last one to be completed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/completion.h"

static char folder[] = "completion-XXXXXX";
static char script[64];

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(script, sizeof script, "%s/script", folder);
    FILE *f = fopen(script, "w");
    if (!f)
        return -1;
    sl_completion_bash(f);
    return fclose(f);
}

static int teardown(void **state)
{
    (void)state;
    unlink(script);
    return rmdir(folder);
}

/* What bash offers, blanks between. words are shell words; the last is the one under the cursor. */
static void complete(const char *words, char out[static 8192])
{
    char command[1024];
    snprintf(command, sizeof command,
             "bash --norc -c 'compopt() { :; }; . %s; COMP_WORDS=(sluicectl %s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); "
             "_sluicectl; echo \"${COMPREPLY[*]}\"'",
             script, words);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t len = fread(out, 1, 8191, p);
    out[len] = '\0';
    out[strcspn(out, "\n")] = '\0';
    assert_int_equal(pclose(p), 0);
}

static void words(void **state)
{
    static const struct {
        const char *typed, *offered;
    } table[] = {
        {"sta", "status stats"},
        {"ev", "event"},
        {"config e", "edit export"},
        {"events s", "show"},
        {"events list --ca", "--cause"},
        {"event list --type tls-a", "tls-abort"},
        {"rule add de", "decrypt deny"},
        {"rule add decrypt name --to", "--top"},
        {"--socket /x rule add decrypt name --to", "--top"},
        {"config show -o \"\"", "yaml json"},
        {"status --output \"\"", "table json"},
        {"config commit --com", ""},
        {"config commit -m text --so", "--socket"},
        {"completion \"\"", "bash"},
        {"object add h", "host"},
        {"event list --limit \"\"", ""},
        {"rule add decrypt \"\"", ""},
    };
    char offered[8192], files[256];
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        complete(table[i].typed, offered);
        if (strcmp(offered, table[i].offered) != 0)
            print_error("%s: %s\n", table[i].typed, offered);
        assert_string_equal(offered, table[i].offered);
    }
    snprintf(files, sizeof files, "config import %s/", folder);
    complete(files, offered);
    assert_string_equal(offered, script);
    snprintf(files, sizeof files, "ca export -f %s/", folder);
    complete(files, offered);
    assert_string_equal(offered, script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(words)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
