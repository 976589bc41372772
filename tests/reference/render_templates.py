#!/usr/bin/env python3
"""Render chat templates with Jinja itself: what formats/template must print.

    render_templates.py TEMPLATE.jinja ... > expectations.json

The environment is the one transformers sets up for apply_chat_template: a sandbox with
trim_blocks and lstrip_blocks, loop controls, the generation block, and its own tojson,
raise_exception and strftime_now. Needs jinja2 >= 3.1.6.
"""
import json
import os
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(jinja2.ext.Extension):
    """{% generation %}: text of the assistant; printed as it is."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_print"), [], [], body).set_lineno(line)

    def _print(self, caller):
        return caller()


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def environment():
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": 'The weather in a place, as "text"',
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "City, e.g. Zürich"},
                "unit": {"type": "string", "enum": ["celsius", "kelvin"], "nullable": True},
                "days": {"type": "array", "description": "which days", "items": {"type": "integer"}},
                "near": {
                    "type": "object",
                    "properties": {"lat": {"type": "number"}, "lon": {"type": "number", "description": "east"}},
                    "required": ["lat"],
                },
            },
            "required": ["place", "days"],
        },
        "response": {"type": "object", "description": "degrees"},
    },
}
PLAIN = {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}}}


def call(name, arguments, i=0):
    return {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": arguments}}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


ASK = [user("  Hello there \n")]
CALLS = [
    user("Weather in Zürich?"),
    assistant("", tool_calls=[call("get_weather", {"place": "Zürich", "days": [1, 2], "unit": None, "near": {"lat": 47.5, "lon": 8.0}})]),
]
RESULT = {"role": "tool", "name": "get_weather", "tool_call_id": "call_0", "content": '{"degrees": 21}'}

CONVERSATIONS = {
    "one question": {"messages": ASK},
    "no generation prompt": {"messages": ASK, "add_generation_prompt": False},
    "system": {"messages": [system("Be brief.  "), user("Hi")]},
    "developer": {"messages": [{"role": "developer", "content": "Be kind."}, user("Hi")]},
    "thinking": {"messages": [system("Think."), user("Why?")], "enable_thinking": True},
    "several turns": {"messages": [user("1+1?"), assistant("2"), user("2+2?"), assistant(" 4 "), user("and?")]},
    "ends with the model": {"messages": [user("Say"), assistant("Done.")], "add_generation_prompt": False},
    "thoughts in history": {
        "messages": [user("a"), assistant("<|channel>thought\nhmm\n<channel|>b"), user("c"), assistant("x<|channel>y<channel|>z")],
        "add_generation_prompt": False,
    },
    "reasoning": {
        "messages": [user("a"), assistant("b", reasoning_content="because", reasoning="because"), user("c"), assistant("d", reasoning="so")],
        "enable_thinking": True,
        "add_generation_prompt": False,
    },
    "tools": {"messages": [system("Use tools."), user("Weather?")], "tools": [WEATHER, PLAIN]},
    "tools and thinking": {"messages": [user("Weather?")], "tools": [WEATHER], "enable_thinking": True},
    "open tool call": {"messages": CALLS, "tools": [WEATHER]},
    "tool response": {"messages": CALLS + [RESULT], "tools": [WEATHER]},
    "tool response, then answer": {
        "messages": CALLS + [RESULT, assistant("21 degrees."), user("Thanks")],
        "tools": [WEATHER, PLAIN],
    },
    "two calls": {
        "messages": [
            user("both"),
            assistant("Wait.", tool_calls=[call("now", {}), call("get_weather", {"place": "Rome", "days": []}, 1)]),
            {"role": "tool", "name": "now", "tool_call_id": "call_0", "content": "12:00"},
            {"role": "tool", "name": "get_weather", "tool_call_id": "call_1", "content": [{"type": "text", "text": "hot"}]},
        ],
        "tools": [WEATHER, PLAIN],
        "enable_thinking": True,
    },
    "tool responses in the message": {
        "messages": CALLS + [
            assistant("", tool_responses=[{"name": "get_weather", "response": {"degrees": 21, "sky": "clear", "ok": True}}]),
            user("ok"),
        ],
        "tools": [WEATHER],
    },
    "parts": {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": " See. "}, {"type": "text", "text": "Tell."}]},
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " What is it? "}, {"type": "audio"}, {"type": "video"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
            user("Sure?"),
        ]
    },
    "other scripts": {"messages": [system("Σύ"), user("नमस्ते 👋 \"quoted\" <b>&amp;</b>"), assistant("你好\n\n"), user("ok")]},
    "wrong order": {"messages": [user("a"), user("b")]},
    "no messages": {"messages": []},
}


def context(conversation):
    return {
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "tools": None,
        "documents": None,
        "add_generation_prompt": True,
        "enable_thinking": False,
        **conversation,
    }


def render(env, source, conversation):
    try:
        return {"text": env.from_string(source).render(**context(conversation))}
    except Exception as trouble:  # what Python raises differs; that it raises does not
        return {"refused": str(trouble)}


def main():
    env = environment()
    out = {"conversations": {name: context(c) for name, c in CONVERSATIONS.items()}, "templates": {}}
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8", newline="") as file:
            source = file.read()
        out["templates"][os.path.basename(path)] = {
            name: render(env, source, c) for name, c in CONVERSATIONS.items()
        }
    json.dump(out, sys.stdout, ensure_ascii=False, indent=1)
    print()


if __name__ == "__main__":
    main()
