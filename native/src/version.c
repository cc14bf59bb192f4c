#include "internal.h"

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)

const char *gatun_version(void) {
    return TEXT(GATUN_VERSION_MAJOR) "." TEXT(GATUN_VERSION_MINOR) "." TEXT(GATUN_VERSION_PATCH);
}

int32_t gatun_abi(void) {
    return GATUN_ABI;
}

const char *gatun_status_string(int32_t status) {
    switch (status) {
    case GATUN_OK:
        return "ok";
    case GATUN_E_INVALID:
        return "a size, stride, flag or scalar is out of its range";
    case GATUN_E_UNSUPPORTED:
        return "not supported by this build or on this CPU";
    case GATUN_E_NULL:
        return "a pointer that is needed is NULL";
    case GATUN_E_ALIGNMENT:
        return "a pointer is not aligned as required";
    case GATUN_E_OVERLAP:
        return "an output shares memory with an input, another output, or itself";
    case GATUN_E_LENGTH:
        return "a key or query length lies outside 0 .. seq";
    case GATUN_E_WORKSPACE:
        return "the workspace is too small";
    case GATUN_E_MEMORY:
        return "out of memory";
    case GATUN_E_THREAD:
        return "a thread could not be started";
    case GATUN_E_STATE:
        return "the context is in use, or was made before a fork";
    case GATUN_E_VERSION:
        return "struct_size is unknown, or a reserved member is not zero";
    case GATUN_E_INDEX:
        return "an id lies outside its table, or sequence offsets are out of order";
    default:
        return "unknown status";
    }
}
