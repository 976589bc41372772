"""Names of models as gguf-py takes them apart: the table of tests/convert/test_idname.c.

    python idnames.py      prints one C row a name; needs gguf (gguf-py 0.19)
"""
from gguf import Metadata
from gguf.utility import size_label

NAMES = [
    ("e2b", 1600000), ("26b-a4b", 3300000), ("12b", 945000), ("gemma3-4b", 784000),
    ("gemma-4-E2B-it", 4647449891), ("gemma-4-31B", 30697345340),
    ("gemma-4-26B-A4B-it", 25233141790), ("google/gemma-3-270m", 268098176),
    ("gemma-4-E4B-it-qat-q4_0-unquantized", 7518069034), ("my-finetune", 6000000),
    ("Model-7B-Instruct-v0.2", 7241732096), ("bloom-7b1", 7069016064),
    ("Mixtral-8x7B-v0.1", 46702792704), ("llama-7B-128K", 6738415616), ("v1.5", 1000),
    ("some sentence with spaces", 5), ("tiny-e2b", 6100000), ("a--b", 1), ("Foo-mini-1.5B", 1500000000),
    ("foo-mini", 1000000), ("x-Q4_0", 10), ("./hidden", 10), ("Gemma-4-12B-it-F16", 11907350320),
]
for name, n in NAMES:
    full, org, base, fine, version, size = Metadata.get_model_id_components(name, n)
    c = lambda s: "NULL" if s is None else '"%s"' % s
    print("    {%s, %dU, %s, %s, %s, %s, %s, %s}," % (
        c(name), n, c(Metadata.id_to_title(full)), c(org), c(base), c(fine), c(version), c(size)))
for n in [0, 5, 999, 1000, 9999, 10000, 123456, 999999, 1000000, 1000001, 1540000, 25233141790, 4647449891, 9.94e9, 1e12, 2e12]:
    print('    {%dU, "%s"},' % (n, size_label(int(n), 0, 0, 0)))
