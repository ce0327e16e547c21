/* Fuzz target of the decoder: whatever the bytes are it reads nothing outside them, and what it accepts it understood:
 * encoded again and decoded again, it is the same message. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/message.h"

static Message first, second;
static uint8_t bytes[MESSAGE_HEADER_BYTES + MESSAGE_MAP_BYTES], again[sizeof bytes];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (message_type_name(size ? data[0] : 0) == NULL)
        abort();
    if (message_decode(&first, data, size) != OK) {
        if (!err_message()[0])
            abort(); /* refused without a sentence */
        return 0;
    }
    size_t n = message_encode(&first, bytes);
    if (message_decode(&second, bytes, n) != OK || memcmp(&first, &second, offsetof(Message, copies)))
        abort();
    if (message_encode(&second, again) != n || memcmp(bytes, again, n))
        abort();
    return 0;
}
