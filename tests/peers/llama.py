"""llama.py - logits from llama.cpp's own library, by ctypes

The structures are those of llama.h 0.5.0 (npm node-llama-cpp 3.22.1); load() refuses another
version. CPU only, float32 K and V, no flash attention, so that what differs is the arithmetic of
the weights and llama.cpp's half-precision GELU table.
"""
import ctypes as c
import glob
import os

import numpy as np


class ModelParams(c.Structure):
    _fields_ = [
        ("devices", c.c_void_p), ("tensor_buft_overrides", c.c_void_p),
        ("n_gpu_layers", c.c_int32), ("split_mode", c.c_int), ("load_mode", c.c_int),
        ("lazy_mode", c.c_int), ("main_gpu", c.c_int32), ("tensor_split", c.c_void_p),
        ("progress_callback", c.c_void_p), ("progress_callback_user_data", c.c_void_p),
        ("kv_overrides", c.c_void_p),
        ("vocab_only", c.c_bool), ("check_tensors", c.c_bool), ("use_extra_bufts", c.c_bool),
        ("no_host", c.c_bool), ("no_alloc", c.c_bool), ("load_mtp", c.c_bool),
    ]


class ContextParams(c.Structure):
    _fields_ = [
        ("n_ctx", c.c_uint32), ("n_batch", c.c_uint32), ("n_ubatch", c.c_uint32),
        ("n_seq_max", c.c_uint32), ("n_rs_seq", c.c_uint32), ("n_outputs_max", c.c_uint32),
        ("n_outputs_max_per_seq", c.c_uint32), ("n_threads", c.c_int32),
        ("n_threads_batch", c.c_int32), ("ctx_type", c.c_int), ("rope_scaling_type", c.c_int),
        ("pooling_type", c.c_int), ("attention_type", c.c_int), ("flash_attn_type", c.c_int),
        ("rope_freq_base", c.c_float), ("rope_freq_scale", c.c_float),
        ("yarn_ext_factor", c.c_float), ("yarn_attn_factor", c.c_float),
        ("yarn_beta_fast", c.c_float), ("yarn_beta_slow", c.c_float),
        ("yarn_orig_ctx", c.c_uint32), ("defrag_thold", c.c_float),
        ("cb_eval", c.c_void_p), ("cb_eval_user_data", c.c_void_p),
        ("type_k", c.c_int), ("type_v", c.c_int),
        ("abort_callback", c.c_void_p), ("abort_callback_data", c.c_void_p),
        ("embeddings", c.c_bool), ("offload_kqv", c.c_bool), ("no_perf", c.c_bool),
        ("op_offload", c.c_bool), ("swa_full", c.c_bool), ("kv_unified", c.c_bool),
        ("samplers", c.c_void_p), ("n_samplers", c.c_size_t), ("ctx_other", c.c_void_p),
    ]


class Batch(c.Structure):
    _fields_ = [
        ("n_tokens", c.c_int32), ("token", c.POINTER(c.c_int32)), ("embd", c.c_void_p),
        ("pos", c.POINTER(c.c_int32)), ("n_seq_id", c.POINTER(c.c_int32)),
        ("seq_id", c.POINTER(c.POINTER(c.c_int32))), ("logits", c.POINTER(c.c_int8)),
    ]


TYPE_F32 = 0
FLASH_ATTN_OFF = 0
CONTEXT_MTP = 1
LAZY = {"off": 0, "auto": 1, "on": 2}
LOG = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)


def _find(folder, name):
    found = sorted(glob.glob(os.path.join(folder, "**", name), recursive=True))
    if not found:
        raise FileNotFoundError(f"{folder}: no {name}")
    return found[0]


class Llama:
    """The library; `log` gathers what it says."""

    def __init__(self, folder):
        path = _find(folder, "libllama.v0.5.0.so")
        home = os.path.dirname(path)
        for name in ("libggml-base.so", "libggml.v0.5.0.so"):
            ggml = c.CDLL(os.path.join(home, name), mode=c.RTLD_GLOBAL)
        ggml.ggml_backend_load_all_from_path.argtypes = [c.c_char_p]
        self.lib = c.CDLL(path, mode=c.RTLD_GLOBAL)
        self.log = []
        self._sink = LOG(lambda level, text, data: self.log.append(text.decode("utf-8", "replace")))
        self.lib.llama_log_set(self._sink, None)
        ggml.ggml_backend_load_all_from_path(home.encode())
        self._declare()
        self.lib.llama_backend_init()

    def _declare(self):
        lib = self.lib
        lib.llama_model_default_params.restype = ModelParams
        lib.llama_context_default_params.restype = ContextParams
        lib.llama_model_load_from_file.restype = c.c_void_p
        lib.llama_model_load_from_file.argtypes = [c.c_char_p, ModelParams]
        lib.llama_init_from_model.restype = c.c_void_p
        lib.llama_init_from_model.argtypes = [c.c_void_p, ContextParams]
        lib.llama_model_get_vocab.restype = c.c_void_p
        lib.llama_model_get_vocab.argtypes = [c.c_void_p]
        lib.llama_vocab_n_tokens.argtypes = [c.c_void_p]
        lib.llama_batch_init.restype = Batch
        lib.llama_batch_init.argtypes = [c.c_int32, c.c_int32, c.c_int32]
        lib.llama_batch_free.argtypes = [Batch]
        lib.llama_decode.argtypes = [c.c_void_p, Batch]
        lib.llama_get_logits_ith.restype = c.POINTER(c.c_float)
        lib.llama_get_logits_ith.argtypes = [c.c_void_p, c.c_int32]
        lib.llama_get_embeddings_seq.restype = c.POINTER(c.c_float)
        lib.llama_get_embeddings_seq.argtypes = [c.c_void_p, c.c_int32]
        lib.llama_model_n_embd.argtypes = [c.c_void_p]
        lib.llama_model_n_embd_out.argtypes = [c.c_void_p]
        # C++ names: hidden states that ride between a target and its drafter (llama-ext.h)
        self._nextn_on = getattr(lib, "_Z26llama_set_embeddings_nextnP13llama_contextbb")
        self._nextn_on.argtypes = [c.c_void_p, c.c_bool, c.c_bool]
        self._nextn_ith = getattr(lib, "_Z30llama_get_embeddings_nextn_ithP13llama_contexti")
        self._nextn_ith.restype = c.POINTER(c.c_float)
        self._nextn_ith.argtypes = [c.c_void_p, c.c_int32]
        lib.llama_free.argtypes = [c.c_void_p]
        lib.llama_model_free.argtypes = [c.c_void_p]
        lib.llama_tokenize.argtypes = [c.c_void_p, c.c_char_p, c.c_int32, c.POINTER(c.c_int32),
                                       c.c_int32, c.c_bool, c.c_bool]

    def load(self, path, lazy="auto"):
        """A model, or None when llama.cpp refuses the file (its words are in self.log)."""
        params = self.lib.llama_model_default_params()
        params.n_gpu_layers = 0
        params.lazy_mode = LAZY[lazy]
        self.log.clear()
        return self.lib.llama_model_load_from_file(str(path).encode(), params)

    def free(self, model):
        self.lib.llama_model_free(model)

    def tokenize(self, model, text, add_special=True, parse_special=False):
        vocab = self.lib.llama_model_get_vocab(model)
        data = text.encode()
        room = (c.c_int32 * (len(data) + 8))()
        n = self.lib.llama_tokenize(vocab, data, len(data), room, len(room), add_special,
                                    parse_special)
        return list(room[:n])

    def context(self, model, n, threads=1, **changes):
        """Room for n tokens in one batch; `changes` are fields of ContextParams."""
        params = self.lib.llama_context_default_params()
        params.n_ctx = max(256, n)
        params.n_batch = params.n_ubatch = params.n_ctx
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = TYPE_F32
        params.flash_attn_type = FLASH_ATTN_OFF
        for name, value in changes.items():
            setattr(params, name, value)
        ctx = self.lib.llama_init_from_model(model, params)
        if not ctx:
            raise RuntimeError("".join(self.log[-5:]))
        return ctx

    def decode(self, ctx, ids, first=0, hidden=None):
        """Run ids at positions from `first`, all with output; `hidden` rides along, a row each."""
        batch = self.lib.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i] = int(token)
            batch.pos[i] = first + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = 1
        if hidden is not None:
            hidden = np.ascontiguousarray(hidden, np.float32)
            batch.embd = hidden.ctypes.data
        failed = self.lib.llama_decode(ctx, batch)
        batch.embd = None  # ours; and llama_batch_free() frees what it finds
        self.lib.llama_batch_free(batch)
        if failed:
            raise RuntimeError("llama_decode failed: " + "".join(self.log[-5:]))

    def _row(self, pointer, n):
        return np.ctypeslib.as_array(pointer, (n,)).copy()

    def _n_vocab(self, model):
        return self.lib.llama_vocab_n_tokens(self.lib.llama_model_get_vocab(model))

    def logits(self, model, ids, threads=1):
        """[n, vocabulary] float32 for ids from an empty context."""
        ctx = self.context(model, len(ids), threads)
        try:
            self.decode(ctx, ids)
            return np.stack([self._row(self.lib.llama_get_logits_ith(ctx, i), self._n_vocab(model))
                             for i in range(len(ids))])
        finally:
            self.lib.llama_free(ctx)

    def embedding(self, model, ids):
        """What an encoder makes of ids, pooled and through its dense heads, not normalised."""
        ctx = self.context(model, len(ids), embeddings=True)
        try:
            self.decode(ctx, ids)
            return self._row(self.lib.llama_get_embeddings_seq(ctx, 0),
                             self.lib.llama_model_n_embd_out(model))
        finally:
            self.lib.llama_free(ctx)

    def draft(self, target, drafter, ids, tokens):
        """[len(tokens), vocabulary]: a drafter's logits for guesses behind ids; tokens[0] is the
        target's own next token, the others what a guess is made from."""
        n_hidden = self.lib.llama_model_n_embd(target)
        main = self.context(target, len(ids))
        side = self.context(drafter, len(ids), ctx_type=CONTEXT_MTP, ctx_other=main)
        try:
            self._nextn_on(main, True, False)
            self._nextn_on(side, True, False)
            self.decode(main, ids)
            hidden = self._row(self._nextn_ith(main, len(ids) - 1), n_hidden)
            rows = []
            for token in tokens:
                self.decode(side, [token], len(ids), hidden)
                rows.append(self._row(self.lib.llama_get_logits_ith(side, 0),
                                      self._n_vocab(drafter)))
                hidden = self._row(self._nextn_ith(side, 0), n_hidden)
            return np.stack(rows)
        finally:
            self.lib.llama_free(side)
            self.lib.llama_free(main)
