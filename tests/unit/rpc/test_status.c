/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "rpc/status.h"

static void test_every_error_has_a_status_that_comes_back(void **state)
{
    static const struct {
        sl_err err;
        const char *status;
        sl_err back;
    } T[] = {
        {SL_OK, "OK", SL_OK},
        {SL_ERR_NOMEM, "RESOURCE_EXHAUSTED", SL_ERR_LIMIT},
        {SL_ERR_INVALID, "INVALID_ARGUMENT", SL_ERR_INVALID},
        {SL_ERR_SHORT, "INVALID_ARGUMENT", SL_ERR_INVALID},
        {SL_ERR_LIMIT, "RESOURCE_EXHAUSTED", SL_ERR_LIMIT},
        {SL_ERR_AGAIN, "UNAVAILABLE", SL_ERR_UNAVAILABLE},
        {SL_ERR_IO, "INTERNAL", SL_ERR_IO},
        {SL_ERR_NOT_FOUND, "NOT_FOUND", SL_ERR_NOT_FOUND},
        {SL_ERR_EXISTS, "ALREADY_EXISTS", SL_ERR_EXISTS},
        {SL_ERR_STATE, "FAILED_PRECONDITION", SL_ERR_STATE},
        {SL_ERR_CORRUPT, "DATA_LOSS", SL_ERR_CORRUPT},
        {SL_ERR_UNSUPPORTED, "UNIMPLEMENTED", SL_ERR_UNSUPPORTED},
        {SL_ERR_DENIED, "PERMISSION_DENIED", SL_ERR_DENIED},
        {SL_ERR_TIMEOUT, "DEADLINE_EXCEEDED", SL_ERR_TIMEOUT},
        {SL_ERR_CANCELLED, "CANCELLED", SL_ERR_CANCELLED},
        {SL_ERR_CRYPTO, "INTERNAL", SL_ERR_IO},
        {SL_ERR_AUTH, "UNAUTHENTICATED", SL_ERR_AUTH},
        {SL_ERR_CONFLICT, "ABORTED", SL_ERR_CONFLICT},
        {SL_ERR_UNAVAILABLE, "UNAVAILABLE", SL_ERR_UNAVAILABLE},
        {SL_ERR_ALERT(40), "INTERNAL", SL_ERR_IO},
        {-1, "INTERNAL", SL_ERR_IO},
    };
    (void)state;
    assert_int_equal(sizeof T / sizeof T[0], SL_ERR_COUNT + 2);
    for (size_t i = 0; i < sizeof T / sizeof T[0]; i++) {
        assert_string_equal(sl_rpc_status_name(sl_rpc_status_from_err(T[i].err)), T[i].status);
        assert_int_equal(sl_rpc_err_from_status(sl_rpc_status_from_err(T[i].err)), T[i].back);
    }
}

static void test_numbers_outside_of_the_set(void **state)
{
    (void)state;
    for (int status = 17; status < 300; status++)
        assert_int_equal(sl_rpc_err_from_status(status), SL_ERR_IO);
    assert_int_equal(sl_rpc_err_from_status(-1), SL_ERR_IO);
    assert_int_equal(sl_rpc_err_from_status(2), SL_ERR_IO);
    assert_string_equal(sl_rpc_status_name(17), "UNKNOWN");
    assert_string_equal(sl_rpc_status_name(-1), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_error_has_a_status_that_comes_back),
        cmocka_unit_test(test_numbers_outside_of_the_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
