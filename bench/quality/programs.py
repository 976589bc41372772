"""programs.py - carat's and llama.cpp's programs, run and timed"""
import json
import pathlib
import re
import resource
import subprocess


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(*args):
    """Standard output and error together, and the processor time it took."""
    before = cpu_seconds()
    done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True, errors="replace")
    if done.returncode != 0:
        raise RuntimeError(" ".join(str(a) for a in args) + "\n" + done.stdout[-2000:])
    return done.stdout, cpu_seconds() - before


class Carat:
    def __init__(self, path, threads):
        self.path, self.threads = pathlib.Path(path), threads

    def __call__(self, verb, *args):
        """What --json answers, and the processor time."""
        out, seconds = run(self.path, verb, *args, "--json", "--quiet", "--no-progress", "-t",
                           self.threads)
        lines = [line for line in out.splitlines() if line.startswith("{")]
        return (json.loads(lines[-1]) if lines else {}), seconds

    def has(self, verb, option):
        return option in run(self.path, "help", verb)[0]

    def reference(self, model, text, chunks, target):
        return self("reference", model, "--text", text, "--chunks", chunks, "-o", target, "-f")[0]

    def compare(self, model, reference):
        figures, _ = self("compare", model, "--reference", reference, "--noise-chunks", 0)
        low, high = figures["kld"]["ci95"]
        return {"kld": figures["kld"]["mean"], "low": low, "high": high,
                "top": 100 * figures["same_top"]["share"], "ppl": figures["ppl"]["model"],
                "base": figures["ppl"]["base"]}


class Llama:
    """llama.cpp's programs out of one folder."""

    def __init__(self, folder, threads):
        self.folder, self.threads = pathlib.Path(folder), threads

    def perplexity_program(self, *args):
        return run(self.folder / "llama-perplexity", "-t", self.threads, "-c", 512, *args)[0]

    def reference(self, model, text, chunks, target):
        self.perplexity_program("-m", model, "-f", text, "--chunks", chunks,
                                "--kl-divergence-base", target)

    def compare(self, model, reference):
        # llama.cpp's logger writes from a thread of its own and, on a busy machine, loses its last
        # lines when the program ends (ggml-org/llama.cpp issue 22142): so again.
        for _ in range(8):
            out = self.perplexity_program("-m", model, "--kl-divergence-base", reference,
                                          "--kl-divergence")
            if "Same top p:" in out:
                break

        def figure(name):
            # "Mean    KLD:   0.311 ±   0.007"; "+/-" in some versions
            found = re.search(re.escape(name).replace(r"\ ", r"\s+") +
                              r"\s*:\s*([-0-9.]+)\s*(?:±|\+/-)\s*([0-9.]+)", out)
            if not found:
                raise RuntimeError(f"no '{name}' from llama-perplexity:\n{out[-3000:]}")
            return float(found[1]), float(found[2])

        kld, error = figure("Mean KLD")
        return {"kld": kld, "low": kld - 1.96 * error, "high": kld + 1.96 * error,
                "top": figure("Same top p")[0], "ppl": figure("Mean PPL(Q)")[0],
                "base": figure("Mean PPL(base)")[0]}

    def imatrix(self, model, text, chunks, target):
        return run(self.folder / "llama-imatrix", "-t", self.threads, "-m", model, "-f", text, "-o",
                   target, "-c", 512, "--chunks", chunks, "--no-ppl")[1]

    def quantize(self, source, target, kind, imatrix=None, same=None):
        options = ["--tensor-type", f"{same[0]}={same[1].lower()}"] if same else []
        if imatrix:
            options += ["--imatrix", imatrix]
        return run(self.folder / "llama-quantize", *options, source, target, kind,
                   self.threads)[1]
