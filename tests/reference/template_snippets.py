#!/usr/bin/env python3
"""Small templates, one feature each, with what Jinja makes of them.

    template_snippets.py > snippets.json
"""
import json
import sys

from render_templates import environment

CONTEXT = {
    "s": "Hello, World",
    "e": "",
    "u": "Äpfel ß Σ я",
    "n": 7,
    "m": -3,
    "f": 2.5,
    "t": True,
    "none": None,
    "l": [3, 1, 2],
    "words": ["b", "A", "c", "a"],
    "d": {"z": 1, "B": [1, "x"], "a": {"k": None}},
    "items": [{"name": "x", "v": 1, "on": True}, {"name": "Y", "v": 2}, {"name": "z", "v": 3, "on": False}],
    "text": "one  two\nthree\n",
    "quote": "it's \"q\" \\ \t\x01é",
    "many": {"role": "user", "items": [1, 2], "get": "got"},
}

SNIPPETS = """
plain text
{{ s }}|{{ n }}|{{ f }}|{{ t }}|{{ none }}|{{ l }}|{{ d }}|{{ missing }}|
{{ 1.0 }} {{ 1e20 }} {{ 1e-7 }} {{ 0.1 + 0.2 }} {{ 123456789.125 }} {{ 1e15 }} {{ 1e16 }} {{ -0.0 }} {{ 100.0 / 3 }}
{{ 7 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}
{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ -n ** 2 }} {{ 2 * 'ab' }} {{ 'ab' * 2 }} {{ [1] * 3 }} {{ [1] + [2] }} {{ (1,) + (2,) }}
{{ 1 ~ 'a' ~ none ~ true ~ 2.0 }} {{ 'a' 'b' }} {{ "x\\n\\t\\x41\\u00e9\\q" }}
{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 'a' < 'b' }} {{ [1,2] < [1,3] }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' != 'b' }} {{ none == none }}
{{ 3 in l }} {{ 9 not in l }} {{ 'ell' in s }} {{ 'z' in d }} {{ 'q' in d }} {{ 'x' in missing }}
{{ not t }} {{ t and n }} {{ e or 'other' }} {{ missing or 'd' }} {{ not missing }} {{ t and not e }}
{{ 'yes' if t else 'no' }} {{ 'yes' if e }}| {{ 'a' if e else 'b' if e else 'c' }}
{{ s[0] }} {{ s[-1] }} {{ s[1:4] }} {{ s[::-1] }} {{ s[:5] }} {{ s[-5:] }} {{ l[1:] }} {{ l[::2] }} {{ l[-1] }} {{ s[99] }}| {{ l[99] }}|
{{ u[0] }} {{ u[1:3] }} {{ u | length }} {{ u | upper }} {{ u | lower }}
{{ d.z }} {{ d['B'][1] }} {{ d.a.k }} {{ d.nope }}| {{ d['nope'] }}| {{ items[0].name }} {{ items.0.name }}
{{ many.items() | list }} {{ many['items'] }} {{ many.get('role') }} {{ many.get('x', 'dflt') }} {{ many.get('x') }}
{{ d.keys() | list }} {{ d.values() | list }} {% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.length }}:{{ x }} {% endfor %}
{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}
{% for x in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }} {% endfor %}
{% for x in [] %}no{% else %}empty{% endfor %}{% for x in missing %}no{% else %} none{% endfor %}
{% for x in l if x > 1 %}{{ x }}{{ loop.length }} {% endfor %}{% for x in l if x > 9 %}{% else %}nothing{% endfor %}
{% for c in 'aé' %}[{{ c }}]{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for a, b in [[1, 2], [3, 4]] %}{{ a + b }} {% endfor %}
{% for x in l %}{% for y in l %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %} {% endfor %}
{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}
{{ range(3) | list }} {{ range(1, 7, 2) | list }} {{ range(5, 0, -2) | list }} {{ range(0) | list }}
{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}
{% set ns = namespace(n=0, s='') %}{% for i in l %}{% set ns.n = ns.n + i %}{% set ns.s = ns.s ~ i %}{% endfor %}{{ ns.n }}{{ ns.s }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set t2 = 1, %}{{ t2 }}{% set (p, q) = [5, 6] %}{{ p + q }}
{% set block %}  inner {{ n }} {% endset %}[{{ block }}]{% set up | upper | trim %} loud {% endset %}[{{ up }}]
{% if false %}a{% elif n == 7 %}b{% else %}c{% endif %}{% if missing %}x{% elif none %}y{% else %}z{% endif %}
{% if t %}{% set inside = 5 %}{% endif %}{{ inside }}
{% macro m1(a, b=2, c='x') %}<{{ a }}{{ b }}{{ c }}>{% endmacro %}{{ m1(1) }}{{ m1(1, c=3) }}{{ m1(b=5, a=4) }}{{ m1() }}
{% macro f(n) %}{{ n }}{% if n > 0 %},{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(4) }}{{ f(2) | length }}
{% macro wrap(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call wrap('b') %}bold {{ n }}{% endcall %}
{% macro each(l) %}{% for i in l %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(x) each(l) %}[{{ x }}]{% endcall %}
{% filter upper %}loud {{ s }}{% endfilter %}{% filter replace('a', 'b') | trim %} aha {% endfilter %}
{% raw %}{{ not }} {% this %}{% endraw %}|{%- raw -%}  x  {%- endraw -%}  |
{# a comment #}x{#- another -#} y {# {{ nothing }} #}
{% generation %}answer {{ n }}{% endgeneration %}.
{{ s | upper }} {{ s | lower }} {{ s | title }} {{ 'hELLO wORLD' | capitalize }} {{ 'a-b (c) d_e' | title }} {{ s | length }} {{ s | count }}
{{ '  x  ' | trim }}| {{ 'xxaxx' | trim('x') }} {{ s | replace('l', 'L') }} {{ s | replace('l', 'L', 2) }}
{{ l | join }} {{ l | join(', ') }} {{ items | join('-', attribute='name') }} {{ missing | join(',') }}|
{{ l | first }} {{ l | last }} {{ [] | first }}| {{ s | first }} {{ s | last }} {{ d | first }}
{{ l | sort }} {{ l | sort(reverse=true) }} {{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ items | sort(attribute='v', reverse=true) | map(attribute='name') | list }}
{{ d | dictsort }} {{ d | dictsort(case_sensitive=true) }} {{ {'a': 2, 'b': 1} | dictsort(by='value') }} {{ {'a': 2, 'b': 1} | dictsort(reverse=true) }}
{{ l | reverse | list }} {{ s | reverse }} {{ l | sum }} {{ items | sum(attribute='v') }} {{ l | min }} {{ l | max }} {{ words | max }} {{ words | unique | list }}
{{ items | map(attribute='v') | list }} {{ items | map(attribute='on', default='?') | list }} {{ words | map('upper') | list }} {{ l | map('string') | join('+') }} {{ words | map('replace', 'a', 'q') | list }}
{{ l | select('odd') | list }} {{ l | reject('odd') | list }} {{ l | select('gt', 1) | list }} {{ [0, 1, none] | select | list }} {{ l | select('in', [1, 3]) | list }}
{{ items | selectattr('on') | map(attribute='name') | list }} {{ items | rejectattr('on') | map(attribute='name') | list }} {{ items | selectattr('v', 'ge', 2) | map(attribute='name') | join }} {{ items | selectattr('on', 'defined') | list | length }} {{ items | selectattr('name', 'equalto', 'x') | first }}
{{ d | tojson }} {{ s | tojson }} {{ quote | tojson }} {{ none | tojson }} {{ [1, 2.0, true, 'é', []] | tojson }} {{ {} | tojson }}
{{ d | tojson(indent=2) }} {{ d | tojson(sort_keys=true) }} {{ d | tojson(separators=(',', ':')) }} {{ 'é😀' | tojson(ensure_ascii=true) }} {{ {'a': []} | tojson(indent=4) }}
{{ {1: 'a', true: 2, none: 3} | tojson }} {{ '<&>' | tojson }}
{{ missing | default('d') }} {{ e | default('d') }}| {{ e | default('d', true) }} {{ none | default('d') }} {{ missing | d }}| {{ none | d('x', boolean=true) }}
{{ '42' | int }} {{ 'x' | int }} {{ 'x' | int(5) }} {{ '3.7' | int }} {{ 3.9 | int }} {{ '2.5' | float }} {{ 'x' | float }} {{ -3 | abs }} {{ f | abs }} {{ 3 | float }}
{{ 2.567 | round(2) }} {{ 2.5 | round }} {{ 3.5 | round }} {{ 2.1 | round(method='ceil') }} {{ 2.9 | round(0, 'floor') }}
{{ d | items | list }} {{ s | list }} {{ n | string }}{{ n | string | length }} {{ s | safe }} {{ '<a href="x">\\'' | e }} {{ s | wordcount }}
{{ text | indent(2) }}|{{ text | indent(2, true) }}|{{ text | indent(width=3, blank=true) }}|
{{ '%s is %d%%' | format('x', 5) }} {{ '%s-%s' % ('a', 1) }} {{ '%r' % 'q' }} {{ [1, 2, 3] | batch(2) | list }} {{ [1, 2, 3] | batch(2, 'x') | list }}
{{ l is defined }} {{ missing is defined }} {{ missing is undefined }} {{ none is none }} {{ none is not none }} {{ s is string }} {{ n is string }}
{{ n is number }} {{ t is number }} {{ f is integer }} {{ n is integer }} {{ t is integer }} {{ f is float }} {{ t is boolean }} {{ t is true }} {{ t is false }} {{ 1 is true }}
{{ d is mapping }} {{ l is mapping }} {{ l is sequence }} {{ s is sequence }} {{ d is sequence }} {{ n is sequence }} {{ l is iterable }} {{ n is iterable }} {{ s is iterable }}
{{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ 1 is eq 1 }} {{ 1 is ne(1) }} {{ 2 is gt 1 }} {{ 2 is lessthan 1 }} {{ 2 is in [1, 2] }} {{ 5 is not in [1, 2] }}
{{ 'abc' is lower }} {{ 'ABC' is upper }} {{ '1' is lower }} {{ range is callable }} {{ s is callable }} {{ none is sameas none }} {{ 1 is sameas 2 }} {{ s is not defined or n is defined }}
{{ s.upper() }} {{ s.lower() }} {{ s.title() }} {{ s.startswith('He') }} {{ s.endswith(('x', 'ld')) }} {{ s.find('o') }} {{ s.find('zz') }} {{ s.rfind('o') }} {{ s.count('l') }}
{{ ' a '.strip() }}| {{ ' a '.lstrip() }}| {{ ' a '.rstrip() }}| {{ 'xxaxx'.strip('x') }} {{ 'abcab'.rstrip('ab') }} {{ 'a.b'.replace('.', '/') }} {{ 'aXbXc'.split('X') }} {{ 'aXbXc'.split('X', 1) }} {{ 'aXbXc'.rsplit('X', 1) }}
{{ ' a  b c '.split() }} {{ 'a b c'.split(none, 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ text.splitlines() }} {{ '-'.join(words) }} {{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('c') }}
{{ 'ab1'.isalnum() }} {{ '12'.isdigit() }} {{ 'ab'.isalpha() }} {{ ' '.isspace() }} {{ ''.isdigit() }} {{ 'x'.capitalize() }} {{ [1, 2, 1].count(1) }} {{ [1, 2].index(2) }}
{{ [quote] }} {{ ["it's"] }} {{ ['"'] }} {{ ('a',) }} {{ () }} {{ {'a': 1, 'b': [none, true, 1.5]} }}
{{ {'a': {'b': 1}}.a.b }} {{ {'a': 1}['a'] }} {{ [[1, 2], [3]][0][1] }} {{ (1, 2)[0] }} {{ {"x": "}}"}.x }}
{{ dict(a=1, b='x') }} {{ namespace(a=1).a }} {{ (l | sort)[0] }} {{ l | sort | first }} {{ -l[0] }} {{ not l }} {{ s | upper | lower | title }}
  {% if t %}  
  kept
  {% endif %}  
end
line
    {%- if t -%}
  stripped  
    {%- endif %}
  after
a {%+ if t %}plus{% endif +%}
b
x {{- ' y ' -}} z {{ 'w' }}  
{% set a = 1 %}
{% set b = 2 %}
{{ a }}

{{ b }}
{% for x in l %}
  - {{ x }}
{% endfor %}
done
	{# tab comment #}
next {# not first #} same
{% set x = {'a': [1, {'b': 2}]} %}{{ x.a[1].b }}{% set y = x.a[0] if x is mapping else 0 %}{{ y }}
{{ 'a' ~ ('b' if t else 'c') ~ 'd' }} {{ (n if n > 5 else 0) + 1 }} {{ n is defined and n > 5 }} {{ s is string and s | length > 3 }}
{{ s if s is string and not (s is mapping) else 'no' }} {{ 1 if 'a' in ['a'] and 'b' not in ['a'] else 2 }}
{{ undefined_thing.attr }}
{{ undefined_function() }}
{{ 1 / 0 }}
{{ 'a' + 1 }}
{{ s.append('x') }}
{{ l.append(1) }}
{{ d.update({}) }}
{{ none.x.y }}
{{ missing | nosuchfilter }}
{{ missing is nosuchtest }}
{% for x in 5 %}{% endfor %}
{{ raise_exception('stop here: ' ~ n) }}
{{ 'abc' | tojson | nothing }}
{% if %}{% endif %}
{% for x in l %}
{{ unclosed
{% endif %}
{{ 1 + }}
{{ 'open }}
{% set s.x = 1 %}
{% macro q(a) %}{% endmacro %}{{ q(1, 2) }}
{{ missing + 1 }}
{{ d.a.k.x }}
{% break %}
{{ [1, 2 }}
{{ {1: 2 }}
{{ missing.x is defined }}
{{ d.x.y is defined }}
{{ d.x is defined and d.x.y }}
""".strip("\n")

# Numbers and texts as Python has them, where C has something near.
AS_PYTHON = r"""
{{ '9007199254740993'|int }} {{ '-12'|int }} {{ ' 5 '|int }} {{ '1_000'|int }} {{ '1e3'|int }} {{ '3.9'|int }} {{ 'x'|int(7) }} {{ '0x10'|int }} {{ '+4'|int }} {{ 'inf'|int }} {{ 'nan'|int }} {{ ''|int }}
{{ '1e400'|float }} {{ '1_0.5'|float }} {{ 'inf'|float }} {{ '0x1p3'|float(2.0) }} {{ 'nan'|float }} {{ '-Infinity'|float }} {{ '.5'|float }} {{ '5.'|float }} {{ 'infin'|float(1.0) }}
{{ 2.675|round(2) }} {{ 0.5|round }} {{ 1.5|round }} {{ 2.5|round }} {{ -0.5|round }} {{ 1234.5|round(-2) }} {{ 7|round }} {{ 1.005|round(2) }} {{ 2.1|round(1,'ceil') }} {{ 2.16|round(1,'floor') }} {{ 1.25|round(1) }} {{ 1e300|round(2) }}
{{ 'a b  c'.rsplit(None, 1) }} {{ 'a b c'.rsplit(maxsplit=1) }} {{ ' a  b c '.rsplit(None, 2) }} {{ ' a '.rsplit(None, 0) }} {{ ''.rsplit(None, 1) }} {{ 'a b'.rsplit(None, 9) }}
{{ 'a\rb\r\nc\n\nd\x0be\u2028f\x85g\x1ch'.splitlines() }} {{ 'a\r\nb\r'.splitlines(true) }} {{ ''.splitlines() }} {{ '\n'.splitlines() }} {{ '\r\n\r\n'.splitlines() }}
{{ ' \u00a0\u2003'.isspace() }} {{ ''.isspace() }} {{ ' x'.isspace() }}
{{ 1.0 // 0.1 }} {{ 7.5 // -2 }} {{ -7.5 // 2 }} {{ -7.5 % 2 }} {{ 7.5 % -2 }} {{ 1.0 % 0.1 }} {{ 5.0 % 1e400 }} {{ -5.0 % 1e400 }} {{ 6.0 // 3.0 }} {{ -6.0 % 3.0 }} {{ 0.0 // 5 }} {{ 1e17 // 3.0 }}
{{ 'a' | indent(2) }} {{ '%d|%i|%s' % (3.9, -3.9, 'x') }} {{ '%d' % true }}
{{ 'they\'re bill\'s'.title() }} {{ "they're bill's"|title }} {{ 'foo-bar (baz)'|title }} {{ 'foo-bar (baz) 3d x2y'.title() }}
{{ 'abcabc'[1:-1] }} {{ 'äbcdé'[1:4] }} {{ 'äbcdé'[-2:] }} {{ 'äbcdé'[:-9] }}| {{ 'äbcdé'[9:] }}| {{ 'äbcdé'[3:1] }}| {{ 'äbc'[:] }} {{ 'äbcdé'[::2] }} {{ 'äbcdé'[:99] }} {{ 'äbcdé'[-99:2] }}
{{ [1,2] * 2 }} {{ 2 * [] }} {{ (1,) * 3 }} {{ [1] * 0 }} {{ [1] * -1 }} {{ 'ab' * 0 }}|
{{ 'a b, c-d e_f é'|wordcount }} {{ "it's"|wordcount }} {{ 2 ** 0.5 }} {{ 0 ** 0 }} {{ 0.0 ** 0 }} {{ 1234|round(-2) }} {{ 1250|round(-2) }} {{ true|round }}
{{ 0 ** -1 }}
{{ true is odd }} {{ 3.0 is odd }} {{ 2.5 is even }} {{ u is lower }} {{ 'é' is lower }} {{ d is upper }} {{ missing is callable }} {{ (true) | abs }} {{ {} | safe | length }} {{ 2.5 is divisibleby(2) }}
{{ '%s' % ('a', 'b') }}
""".strip("\n")


def snippets():
    """One a line; lines that belong together are listed here by their first one."""
    lines = SNIPPETS.split("\n")
    joined = {"  {% if t %}  ": 4, "line": 5, "a {%+ if t %}plus{% endif +%}": 2, "x {{- ' y ' -}} z {{ 'w' }}  ": 1,
              "{% set a = 1 %}": 5, "{% for x in l %}": 4, "\t{# tab comment #}": 2}
    at = 0
    while at < len(lines):
        n = joined.get(lines[at], 1)
        if lines[at] == "{% for x in l %}" and lines[at + 1].startswith("{{ unclosed"):
            n = 1
        yield "\n".join(lines[at : at + n])
        at += n
    yield from AS_PYTHON.split("\n")
    yield "no-break\n\u00a0 {% if t %}\nx\n\u2003{% endif %}"
    yield "ends with a newline\n"
    yield "ends with two\n\n"
    yield "carriage\r\nreturns\r{{ n }}\r\n"
    yield ""
    yield "\n"
    yield "{{ s }}\n{%- set x = 1 %}\n\n{{- s }}"


def main():
    env = environment()
    out = []
    for source in snippets():
        try:
            out.append({"template": source, "text": env.from_string(source).render(**CONTEXT)})
        except Exception as trouble:  # what Python raises differs; that it raises does not
            out.append({"template": source, "refused": str(trouble)})
    json.dump({"context": CONTEXT, "cases": out}, sys.stdout, ensure_ascii=False, indent=1)
    print()


if __name__ == "__main__":
    main()
