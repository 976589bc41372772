#!/usr/bin/env python3
"""Train a small SentencePiece model in the form of Gemma's and encode lines with it.

    make_sentencepiece.py TRAINING_TEXT LINES OUT_PREFIX

Writes OUT_PREFIX.model and OUT_PREFIX.jsonl ({"text", "ids"}). Needs sentencepiece (0.2.3).
"""
import json
import sys

import sentencepiece as spm

training, lines, prefix = sys.argv[1:]
spm.SentencePieceTrainer.train(
    input=training,
    model_prefix=prefix,
    model_type="bpe",
    vocab_size=1200,
    character_coverage=0.99,
    byte_fallback=True,
    normalization_rule_name="identity",
    add_dummy_prefix=False,
    remove_extra_whitespaces=False,
    split_by_whitespace=False,
    max_sentencepiece_length=12,
    pad_id=0,
    eos_id=1,
    bos_id=2,
    unk_id=3,
    control_symbols=["<start_of_turn>", "<end_of_turn>"],
    user_defined_symbols=["\n", "\n\n", "▁▁", "▁▁▁▁", "\t", "<b>", "</b>"],
    allow_whitespace_only_pieces=True,
    num_threads=1,
)
processor = spm.SentencePieceProcessor(model_file=prefix + ".model")
with open(lines, encoding="utf-8", newline="") as file, open(prefix + ".jsonl", "w", encoding="utf-8") as out:
    texts = file.read().split("\n")
    texts += ["", " ", "  ", "     x  y", "a\n\n\nb\tc", "<b>bold</b> <start_of_turn>", "日本 😀 \u0000 é", " trailing  "]
    for text in texts:
        print(json.dumps({"text": text, "ids": processor.encode(text)}, ensure_ascii=False), file=out)
