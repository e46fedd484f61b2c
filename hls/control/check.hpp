/* SPDX-License-Identifier: Apache-2.0 */
/* Is the payload of a command what it should be? Whatever passes cannot lead a process of the lane astray; whether it is what the
 * connection needs is the host's matter. */
#pragma once

#include <stdint.h>

namespace card
{

/* A session_state: lengths, offsets and shifts within bounds, one consistent position. */
bool session_is_sound(const uint8_t *payload);

/* A key_set. */
bool key_set_is_sound(const uint8_t *payload);

/* A table_slot: all zero, or valid with an action that exists. */
bool table_slot_is_sound(const uint8_t *payload);

/* A card_rule. */
bool rule_is_sound(const uint8_t *payload);

} // namespace card
