/*
 * torch_names.c - the names a pickle of tensors may say, and what they stand for
 */
#include "formats/archive/pickle.h"

static const struct torch_name names[] = {
    {"collections", "OrderedDict", NAME_ORDERED_DICT, DTYPE_U8},
    {"torch._utils", "_rebuild_tensor_v2", NAME_TENSOR, DTYPE_U8},
    {"torch._utils", "_rebuild_tensor_v3", NAME_TYPED_TENSOR, DTYPE_U8},
    {"torch._utils", "_rebuild_parameter", NAME_PARAMETER, DTYPE_U8},
    {"torch.storage", "UntypedStorage", NAME_BYTE_STORAGE, DTYPE_U8},
    {"torch.storage", "TypedStorage", NAME_BYTE_STORAGE, DTYPE_U8},
    {"torch", "Size", NAME_SIZE, DTYPE_U8},
    {"torch", "device", NAME_DEVICE, DTYPE_U8},
    {"torch", "FloatStorage", NAME_STORAGE, DTYPE_F32},
    {"torch", "HalfStorage", NAME_STORAGE, DTYPE_F16},
    {"torch", "BFloat16Storage", NAME_STORAGE, DTYPE_BF16},
    {"torch", "DoubleStorage", NAME_STORAGE, DTYPE_F64},
    {"torch", "LongStorage", NAME_STORAGE, DTYPE_I64},
    {"torch", "IntStorage", NAME_STORAGE, DTYPE_I32},
    {"torch", "ShortStorage", NAME_STORAGE, DTYPE_I16},
    {"torch", "CharStorage", NAME_STORAGE, DTYPE_I8},
    {"torch", "ByteStorage", NAME_STORAGE, DTYPE_U8},
    {"torch", "BoolStorage", NAME_STORAGE, DTYPE_BOOL},
    {"torch", "float32", NAME_DTYPE, DTYPE_F32},
    {"torch", "float16", NAME_DTYPE, DTYPE_F16},
    {"torch", "bfloat16", NAME_DTYPE, DTYPE_BF16},
    {"torch", "float64", NAME_DTYPE, DTYPE_F64},
    {"torch", "int64", NAME_DTYPE, DTYPE_I64},
    {"torch", "int32", NAME_DTYPE, DTYPE_I32},
    {"torch", "int16", NAME_DTYPE, DTYPE_I16},
    {"torch", "int8", NAME_DTYPE, DTYPE_I8},
    {"torch", "uint8", NAME_DTYPE, DTYPE_U8},
    {"torch", "uint16", NAME_DTYPE, DTYPE_U16},
    {"torch", "uint32", NAME_DTYPE, DTYPE_U32},
    {"torch", "uint64", NAME_DTYPE, DTYPE_U64},
    {"torch", "bool", NAME_DTYPE, DTYPE_BOOL},
    {"torch", "float8_e4m3fn", NAME_DTYPE, DTYPE_F8_E4M3},
    {"torch", "float8_e5m2", NAME_DTYPE, DTYPE_F8_E5M2},
    {"torch", "float8_e8m0fnu", NAME_DTYPE, DTYPE_F8_E8M0},
};

const struct torch_name *torch_name_find(const char *module, const char *name)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i].module, module) == 0 && strcmp(names[i].name, name) == 0)
            return &names[i];
    return NULL;
}

static struct value *new_value(struct arena *arena, enum value_kind kind)
{
    struct value *value = arena_alloc(arena, sizeof(*value));

    if (value)
        value->kind = kind;
    return value;
}

static enum status no_memory(struct error *err)
{
    return fail(err, ERR_NOMEM, "no memory for the values of a pickle");
}

static bool is_name(const struct value *value, enum name_meaning meaning)
{
    return value->kind == VALUE_NAME && value->name->meaning == meaning;
}

/* A tensor keeps its first four arguments; their sense is checked where its name is known. */
static enum status rebuild_tensor(struct arena *arena, const struct torch_name *name,
                                  struct value *args, struct value **out,
                                  struct error *err)
{
    const bool is_typed = name->meaning == NAME_TYPED_TENSOR;
    struct value *tensor;

    if (args->n < (is_typed ? 7u : 4u) || args->items[0]->kind != VALUE_STORAGE ||
        args->items[1]->kind != VALUE_INT || args->items[2]->kind != VALUE_TUPLE ||
        args->items[3]->kind != VALUE_TUPLE ||
        (is_typed && !is_name(args->items[6], NAME_DTYPE)))
        return fail(err, ERR_CORRUPT, "pickle: arguments of %s are not those of a tensor",
                    name->name);
    tensor = new_value(arena, VALUE_TENSOR);
    if (!tensor)
        return no_memory(err);
    tensor->items = args->items;
    tensor->n = 4;
    tensor->name = is_typed ? args->items[6]->name : NULL;
    *out = tensor;
    return OK;
}

enum status torch_call(struct arena *arena, const struct value *callee,
                       struct value *args, struct value **out, struct error *err)
{
    const struct torch_name *name = callee->name;

    if (callee->kind != VALUE_NAME || args->kind != VALUE_TUPLE)
        return fail(err, ERR_CORRUPT, "pickle: it calls what is not a name");
    switch (name->meaning) {
    case NAME_ORDERED_DICT:
        if (args->n != 0)
            break;
        *out = new_value(arena, VALUE_DICT);
        return *out ? OK : no_memory(err);
    case NAME_TENSOR:
    case NAME_TYPED_TENSOR:
        return rebuild_tensor(arena, name, args, out, err);
    case NAME_PARAMETER:
        if (args->n == 0 || args->items[0]->kind != VALUE_TENSOR)
            break;
        *out = args->items[0];
        return OK;
    case NAME_SIZE:
        if (args->n != 1 || args->items[0]->kind != VALUE_TUPLE)
            break;
        *out = args->items[0];
        return OK;
    case NAME_DEVICE:
        *out = new_value(arena, VALUE_NONE);
        return *out ? OK : no_memory(err);
    case NAME_STORAGE:
    case NAME_BYTE_STORAGE:
    case NAME_DTYPE:
        break;
    }
    return fail(err, ERR_UNSUPPORTED, "pickle: it calls %s.%s with arguments of its own",
                name->module, name->name);
}

enum status torch_storage(struct arena *arena, const struct value *id, struct value **out,
                          struct error *err)
{
    struct value *storage, **items = id->items;

    if (id->kind != VALUE_TUPLE || id->n != 5 || items[0]->kind != VALUE_TEXT ||
        strcmp(items[0]->text, "storage") != 0 ||
        !(is_name(items[1], NAME_STORAGE) || is_name(items[1], NAME_BYTE_STORAGE)) ||
        items[2]->kind != VALUE_TEXT || items[4]->kind != VALUE_INT)
        return fail(err, ERR_CORRUPT, "pickle: a persistent id is not that of a storage");
    storage = new_value(arena, VALUE_STORAGE);
    if (!storage)
        return no_memory(err);
    storage->name = items[1]->name;
    storage->text = items[2]->text;
    storage->n = items[2]->n;
    storage->number = items[4]->number;
    *out = storage;
    return OK;
}
