"""Writes tests/templates/expressions.json: small templates and what python3-jinja2 makes of them.

  /usr/bin/python3 tools/templates/make_expressions.py
"""
import json
import os

import jinja_oracle

INPUTS = {
    "name": "World", "empty": "", "uni": "Straße Éa 日本", "n": 7, "neg": -7, "f": 2.5, "yes": True, "no": False,
    "none": None, "big": 18446744073709551615, "nums": [3, 1, 2], "words": ["b", "A", "c", "a"],
    "nested": [[1, 2], [3, [4, 5]]], "d": {"b": 1, "a": 2, "C": 3}, "pad": "  x y  ", "lines": "a\nb\r\nc\n\nd",
    "people": [{"name": "Ann", "age": 30, "city": {"zip": 1}}, {"name": "bob", "age": 25, "city": {"zip": 2}},
               {"name": "Cy", "age": 30}],
    "mixed": [1, "a", None, 2.5, True, [], {}], "quote": "it's \"q\" \\ \n\t\u0001\u00a0é😀", "html": "<a href='x'>&\"",
}

# Expressions, printed each within {{ }}.
EXPRESSIONS = r"""
1 + 2 * 3
(1 + 2) * 3
2 ** 3 ** 2
-2 ** 2
7 / 2
8 / 2
7 // 2
neg // 2
neg % 3
7 % neg
7.5 // 2
-7.5 % 2
1e3
1_000
0x1F
0b101 + 0o17
1.0
1e16
1e15
123456789.125
0.1 + 0.2
1e-5
0.0001
1.5e300 * 1e10
10 / 3
true + 1
big
big + 1
2 ** 100
name + '!'
name ~ 1 ~ none ~ 2.0
'a' 'b' "c"
'a' * 3
3 * 'ab'
'a' * -1
[1, 2] + [3]
[0] * 3
(1, 2) + (3,)
()
(1,)
[1, 'a', 2.5, none, true]
{'a': 1, 'b': [1, {'c': none}]}
{1: 'x', 'y': 2}
{1: 'a', true: 'b', 1.0: 'c'}
1 < 2
1 < 2 < 3
1 < 3 < 2
'a' < 'b'
[1, 2] < [1, 3]
1 == 1.0
'1' == 1
none == none
[1] == [1]
(1,) == [1]
d == {'a': 2, 'b': 1, 'C': 3}
not yes
not not empty
yes and name
empty or 'default'
no or none or 0
yes and no or name
2 in nums
9 not in nums
'or' in name
'' in name
'a' in d
1 in d
none in mixed
undefinedthing in name
'x' if yes
'x' if no
'x' if no else 'y'
'a' if no else 'b' if no else 'c'
(1 if yes else 2) + 3
undefinedthing
undefinedthing.attr
undefinedthing + 1
undefinedthing ~ 'x'
undefinedthing | length
undefinedthing == undefinedthing2
undefinedthing is defined
d.missing
d.missing.deeper
d['missing']
nums[10]
nums[-1]
nums[-10]
nums[0]
nums['0']
name[0]
name[-1]
uni[2:5]
uni[::-1]
name[1:]
name[:-1]
name[::2]
name[4:1:-1]
name[10:20]
nums[1:]
nums[::-1]
nums[5:]
nums[-2:]
nums[0:10:2]
(1, 2, 3)[1:]
d.a
d['a']
d.keys() | list
d.values() | list
d.items() | list
d.get('a')
d.get('zz')
d.get('zz', 5)
people[0].name
people[0]['city']['zip']
people[2].city
people.0.name
nested.1.1.0
name.upper()
name.lower().title()
'hello world'.title()
"they're bill's".title()
'hELLO'.capitalize()
uni.upper()
uni.lower()
uni.title()
'ΑΣ ΑΣΑ'.lower()
'ﬁne ŉ'.upper()
'ǆ'.title()
pad.strip()
pad.lstrip()
pad.rstrip()
'xxhixx'.strip('x')
'abcba'.strip('ab')
'日本日'.strip('日')
'a,b,,c'.split(',')
' a  b '.split()
' a  b c '.split(none, 1)
'a,b,c'.split(',', 1)
'a,b,c'.rsplit(',', 1)
' a b  c '.rsplit(none, 1)
'aaa'.rsplit('aa')
''.split(',')
''.split()
lines.splitlines()
lines.splitlines(true)
'a\x0bb\x1cc\u2028d'.splitlines()
'abc'.startswith('ab')
'abc'.startswith(('x', 'a'))
'abc'.endswith('c')
'abcabc'.replace('b', 'X')
'abcabc'.replace('b', 'X', 1)
'abc'.replace('', '-')
'abc'.find('c')
'日本語'.find('語')
'abc'.find('z')
'abcabc'.rfind('b')
'abcabc'.count('b')
'aaaa'.count('aa')
'abc'.index('b')
'abc'.index('z')
','.join(['a', 'b'])
','.join([1, 2])
'{} and {}'.format(1, 'x')
'{1}{0}'.format('a', 'b')
'{a}-{b:>5}|{c:<4}|{d:^5}|'.format(a=1, b=2, c='z', d='m')
'{:05d} {:.2f} {:,} {:x} {:+d} {:e} {:%}'.format(42, 3.14159, 1234567, 255, 5, 12345.678, 0.25)
'{0[a]} {1.name}'.format(d, people[0])
'{{}} {!r}'.format('q')
'%s and %d' % ('x', 5)
'%5.2f|%-5s|%05d|%x|%%' % (3.14159, 'ab', 42, 255)
'%(a)s-%(b)d' % {'a': 1, 'b': 2}
'%s' % [1, 2]
'%s' % 'one'
'%s %s' % ('one',)
'abc'.isalpha()
'12'.isdigit()
'aB'.islower()
'AB1'.isupper()
' '.isspace()
'a1'.isalnum()
'ab'.center(5) ~ '|'
'abc'.center(6, '*')
'ab'.ljust(4, '.') ~ 'ab'.rjust(4)
'prefix-x'.removeprefix('prefix-')
'x.txt'.removesuffix('.txt')
nums.index(2)
nums.count(1)
nums.append(4)
d.update({'z': 1})
d.pop('a')
''.__class__
''.__class__.__mro__
d.__class__
name.nothere
name.nothere()
n()
name()
name | upper
name | lower | capitalize
name|length
uni|length
d | length
5 | length
none | length
nums | first
nums | last
[] | first
'abc' | first
'abc' | last
d | first
nums | sum
people | sum(attribute='age')
[[1], [2]] | sum(start=[])
nums | sort
nums | sort(reverse=true)
words | sort
words | sort(case_sensitive=true)
people | sort(attribute='age') | map(attribute='name') | join(',')
people | sort(attribute='age,name', reverse=true) | map(attribute='name') | join(',')
[1, 'a'] | sort
nums | max
nums | min
words | max
people | max(attribute='age')
[] | max
words | unique | list
[1, 1.0, true, 2, 2] | unique | list
nums | reverse | list
'abc' | reverse
nums | join
nums | join(', ')
mixed | join('|')
people | join(', ', attribute='name')
'abc' | list
d | list
d | items | list
d | dictsort
d | dictsort(true)
d | dictsort(by='value', reverse=true)
nums | map('string') | list
words | map('upper') | join
people | map(attribute='city.zip') | list
people | map(attribute='city.zip', default='?') | list
[1, 2, 3, 4] | select('odd') | list
[1, 2, 3, 4] | reject('odd') | list
[0, 1, '', 'a'] | select | list
people | selectattr('age', 'equalto', 30) | map(attribute='name') | list
people | selectattr('city') | list | length
people | rejectattr('age', 'gt', 26) | map(attribute='name') | list
people | selectattr('city', 'defined') | map(attribute='name') | join
people | groupby('age') | map(attribute='grouper') | list
(people | groupby('age'))[0].list | map(attribute='name') | list
[1, 2, 3, 4, 5] | batch(2) | list
[1, 2, 3, 4, 5] | batch(2, 'x') | list
[1, 2, 3, 4, 5] | slice(2) | list
[1, 2, 3, 4, 5] | slice(3, 'x') | list
missing | default('x')
none | default('x')
'' | default('x', true)
empty | d('y', boolean=true)
missing | default
'12' | int
'12.7' | int
'x' | int
'x' | int(-1)
'ff' | int(base=16)
'0xff' | int(0, 16)
' 7 ' | int
'1_000' | int
3.99 | int
none | int
'3.5' | float
'x' | float
'1e3' | float
7 | float
2.5 | round
3.5 | round
2.675 | round(2)
42.55 | round(1, 'floor')
42.51 | round(1, 'ceil')
1234 | round(-2)
7 | round
-3 | abs
-2.5 | abs
pad | trim
'xxaxx' | trim('x')
'a b' | replace(' ', '_')
'aaa' | replace('a', 'b', 2)
123 | replace('2', 'x')
'hello wORLD foo-bar (baz' | title
'foo bar baz' | truncate(8)
'foo bar baz qux' | truncate(9, true)
'foo bar baz qux' | truncate(11, false, '…', 0)
'foo' | truncate(3)
lines | indent
lines | indent(2, true)
lines | indent('> ', blank=true)
'one two  three' | wordcount
'one two three four' | wordwrap(9)
'abcdefghij kl' | wordwrap(4)
'a b' | center(7) ~ '|'
'%s=%s' | format('a', 1)
'%(x)s' | format(x=5)
html | escape
html | e
html | safe
'a b/c?d=é&' | urlencode
{'a b': 'c/d', 'e': 1} | urlencode
d | tojson
quote | tojson
mixed | tojson
{'a': {'b': [1, 2.0, 1e20, 1e-7]}} | tojson
d | tojson(indent=2)
nested | tojson(indent=1)
{'x': [], 'y': {}} | tojson(indent=4)
d | tojson(sort_keys=true)
d | tojson(separators=(',', ':'))
uni | tojson(ensure_ascii=true)
'😀' | tojson(true)
{1: 2, none: 3, true: 4} | tojson
missing | tojson
(1, 2) | tojson
1.0 | tojson
big | tojson
quote
quote | pprint
[quote, uni]
d | pprint
mixed
[1.0, 1e100, -0.0]
nums | string
5 | string ~ 'x'
d | attr('items') is callable
d | attr('a')
n is number
n is integer
yes is integer
yes is number
yes is boolean
f is float
f is number
name is string
none is none
none is defined
missing is undefined
missing is none
nums is sequence
name is sequence
d is mapping
nums is mapping
d is iterable
5 is iterable
name is iterable
n is odd
n is even
n is divisibleby 7
n is divisibleby(2)
'abc' is lower
'ABC' is upper
n is eq 7
n is ne(7)
n is gt 3
n is lessthan 3
n is ge 7
n is le 7
2 is in nums
2 is in([1, 3])
n is not none
n is not divisibleby 3
yes is true
yes is false
no is false
1 is true
none is sameas none
n is sameas 7
namespace is callable
name is callable
'upper' is filter
'nope' is filter
n is nosuchtest
n | nosuchfilter
range(5) | list
range(2, 8, 3) | list
range(5, 0, -2) | list
range(0) | list
range(3)[1]
range(1000000)
dict(a=1, b='x')
dict({'a': 1}, b=2)
dict([('k', 'v')])
namespace(a=1).a
raise_exception('stop ' ~ n)
strftime_now('%Y-%m-%d')
strftime_now('%d %B %Y, %H:%M')
-nums | length
-n | abs
not n is none
[1, 2, 3,]
{'a': 1,}
1 if n > 5 and n < 10 else 0
'a' ~ 'b' + 'c'
1 ~ 2 + 3
10 - 2 - 3
2 * 3 % 4
100 // 7 // 2
n == 7 and f == 2.5 and name == 'World'
'\x41\u00e9\U0001F600\101\n\q'
"a\"b" ~ 'c\'d'
[[1, 2], [3]] | map('length') | list
[[3, 1], [2]] | map('sort', reverse=true) | list
['1', '2'] | map('int') | sum
'x' in ['x'] and 'y' not in ['x']
(d | tojson) | length
1 / 0
1 % 0
[1, 2] + 'a'
'a' + 1
none + 1
'a' < 1
[] < {}
nums.nothere
none.x
none['x']
5[0]
'abc'['upper']()
d['keys']() | list
'a-b_c'.split('-')[1].split('_')[0]
('a', 'b') is sequence
loop
'%.3s|' % 'abcdef'
'%+d % d' % (3, 4)
'%e' % 12345.678
'%g' % 0.0001
'%c' % 65
'abc' is string and 'abc' is not number
{'a': 1}.a
[1, [2, 3]][1][0]
(1, 'a')
'é' < 'z'
'é' == 'é'
"tab\there"
1.5 | string
1e400
-5 // 2
5 // -2
-5 % 3
5.5 % -2
0 ** 0
2 ** -1
(-8) ** 2
""".strip("\n").split("\n")

# Whole templates: statements and whitespace.
TEMPLATES = [
    "{% for x in nums %}{{ x }}{% endfor %}",
    "{% for x in nums %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}"
    "{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}",
    "{% for x in nums %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }},{% endfor %}",
    "{% for x in nums %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for x in [] %}x{% else %}none{% endfor %}",
    "{% for x in nums if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }} {% else %}no{% endfor %}",
    "{% for x in nums if x > 9 %}{{ x }}{% else %}no{% endfor %}",
    "{% for a, b in [[1, 2], [3, 4]] %}{{ a }}-{{ b }};{% endfor %}",
    "{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }},{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}",
    "{% for c in 'añb' %}[{{ c }}]{% endfor %}",
    "{% for x in missing %}x{% else %}empty{% endfor %}",
    "{% for x in 5 %}x{% endfor %}",
    "{% for x in none %}x{% endfor %}",
    "{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}",
    "{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}"
    "{% endfor %}",
    "{% for x in [1, 2] %}{% for y in [1, 2, 3] %}{% if y == 2 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}"
    "{% endfor %}",
    "{% for x in [1, 2] %}{% for y in [3] %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% for x in nums %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{% endfor %}",
    "{% for x in nested recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}@{{ loop.depth }}{% endif %}"
    "{% endfor %}",
    "{% for x in nums %}{% set y = x %}{% endfor %}{{ y }}",
    "{% set y = 0 %}{% for x in nums %}{% set y = y + x %}{% endfor %}{{ y }}",
    "{% set ns = namespace(t=0) %}{% for x in nums %}{% set ns.t = ns.t + x %}{% endfor %}{{ ns.t }}",
    "{% set ns = namespace() %}{{ ns.a }}{% set ns.a = [1] %}{{ ns.a }}",
    "{% set x = 1 %}{% set x.y = 2 %}",
    "{% if no %}a{% elif yes %}b{% else %}c{% endif %}",
    "{% if no %}a{% elif empty %}b{% else %}c{% endif %}",
    "{% if yes %}{% set inside = 5 %}{% endif %}{{ inside }}",
    "{% if missing %}a{% else %}b{% endif %}",
    "{% set a, b = 1, 2 %}{{ b }}{{ a }}",
    "{% set (a, b) = [3, 4] %}{{ a }}{{ b }}",
    "{% set t = 1, 2 %}{{ t }}",
    "{% set b %}x{{ n }}y{% endset %}[{{ b }}]{{ b|length }}",
    "{% set b | upper | trim %}  x{{ name }} {% endset %}[{{ b }}]",
    "{% set z = 1 %}{% set b %}{% set z = 2 %}{{ z }}{% endset %}{{ b }}{{ z }}",
    "{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }};{% endmacro %}{{ m(1) }}{{ m(1, c=5) }}{{ m(b=3, a=9) }}",
    "{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m() }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}",
    "{% macro f(n) %}{% if n > 1 %}{{ n }}{{ f(n - 1) }}{% else %}.{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro f() %}{{ later }}{% endmacro %}{% set later = 5 %}{{ f() }}",
    "{% macro f() %}{% set q = 1 %}{% endmacro %}{{ f() }}{{ q }}",
    "{% macro box(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call box('b') %}in {{ name }}{% endcall %}",
    "{% macro each(xs) %}{% for x in xs %}{{ caller(x, loop.index) }}{% endfor %}{% endmacro %}"
    "{% call(x, i) each(nums) %}{{ i }}={{ x }};{% endcall %}",
    "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}",
    "{% set f = name.upper %}{{ f() }}",
    "{% filter upper %}a{{ name }}b{% endfilter %}",
    "{% filter replace('a', 'x') | trim %} banana {% endfilter %}",
    "{% with a = 1, b = n %}{{ a + b }}{% endwith %}{{ a }}",
    "{% with %}{% set a = 3 %}{{ a }}{% endwith %}{{ a is defined }}",
    "{% raw %}{{ not }} {% for %}{# this #}{% endraw %}",
    "a {%- raw -%}  {{ x }}  {%- endraw -%} b",
    "{# comment #}a{#- b -#}  c {#  multi\nline #} d",
    "{% generation %}x{{ n }}{% endgeneration %}y",
    "{% set c = cycler('x', 'y') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}",
    "{% set j = joiner('; ') %}{% for x in nums %}{{ j() }}{{ x }}{% endfor %}",
    "a\n{% if yes %}\nb\n{% endif %}\nc\n",
    "a\n  {% if yes %}  \n  b\n  {%+ endif %}\nc\n\n",
    "  {{ n }}  \n  {{ n }}\n",
    "x {%- if yes -%}  y  {%- endif -%} z",
    "x\n\n{{- n -}}\n\ny",
    "{%- for x in nums %}\n    {{ x }}\n{%- endfor %}\nend",
    "{% for x in nums -%}\n    {{ x }},\n{% endfor %}",
    "line\n    {#- gone #}\n  {# kept #}\nnext",
    "\n\n{% set a = 1 %}\n\n{{ a }}\n\n",
    "a\r\nb\rc\n",
    "{{ 'x\r\ny' }}",
    "\t{% if yes %}t{% endif %}\t|",
    "{% if yes +%}\nkept newline\n{% endif %}",
    "a {% if yes %} b {% endif %} c",
    "{{ {'a': {'b': 1}}['a']['b'] }}{{ {'x':{}} }}",
    "{{ '}}' ~ '%}' }}",
    "{{ n -}}   {{- n }}",
    "{{-n}}{{+n}}",
    "{% set x = 'a' if yes else 'b' %}{{ x }}",
    "{% for x in [1, 2, 3] if x is odd %}{{ x }}{% endfor %}",
    "{% for x in (1, 2) %}{{ x }}{% endfor %}{% for x in 3, 4 %}{{ x }}{% endfor %}",
    "{% for m in people %}{% for k, v in m.items() if k != 'city' %}{{ k }}:{{ v }} {% endfor %}{% endfor %}",
    "{% for g in people | groupby('age') %}{{ g.grouper }}={{ g.list | map(attribute='name') | join('+') }};"
    "{% endfor %}",
    "{% for age, group in people | groupby('age') %}{{ age }}:{{ group | length }} {% endfor %}",
    "{% set ns = namespace(found=false) %}{% for p in people %}{% if p.age == 25 %}{% set ns.found = p.name %}"
    "{% endif %}{% endfor %}{{ ns.found }}",
    "{{ undefined_function() }}",
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
    "{% from 'x' import y %}",
    "{% nosuch %}",
    "{% if %}x{% endif %}",
    "{% if yes %}x",
    "{% for x in nums %}",
    "{% endif %}",
    "{{ 1 + }}",
    "{{ (1 }}",
    "{{ 'open }}",
    "{{ x y }}",
    "{% set = 1 %}",
    "{% for in nums %}{% endfor %}",
    "{# open",
    "{% raw %}x",
    "{{ n",
    "{{ n }",
    "{% break %}",
    "{{ $ }}",
    "{{ a b c }}",
    "{% macro m(a=1, b) %}{% endmacro %}",
    "{{ m(a=1, 2) }}",
    "{% set none = 1 %}",
    "{% do nums %}",
    "text only",
    "",
    "{{ '' }}",
    "100% {sure} {not a tag} # } }} %}",
    "{% if yes %}{% if no %}a{% else %}{% for x in nums %}{{ x }}{% endfor %}{% endif %}{% endif %}",
    "{% set msgs = [{'r': 'u', 'c': 'x'}, {'r': 'a', 'c': 'y'}] %}{% for m in msgs[1:] %}{{ m.r }}{{ m['c'] }}"
    "{% endfor %}",
    "{%- set ns = namespace(a=1, b='x') -%}{%- set ns.a = ns.a + 1 -%}{{ ns.a }}{{ ns.b }}",
    "{% set x = [] %}{% set x = x + [1] %}{% set x = x + [2] %}{{ x }}",
    "{% for x in nums %}{{ x }}{{ ', ' if not loop.last }}{% endfor %}",
    "{% for x in nums|sort %}{{- x -}}{% endfor %}",
    "{{ [1, 2, 3] | map('string') | map('replace', '2', 'two') | join(' ') }}",
    "{% set a = b = 1 %}",
    "{% set q = {'k': 'v'} %}{% for k, v in q|items %}{{ k }}{{ v }}{% endfor %}",
    "{{ caller }}{{ varargs }}",
    "{% for i in range(3) %}{% set outer = loop %}{% for j in range(2) %}{{ outer.index }}.{{ loop.index }} "
    "{% endfor %}{% endfor %}",
    "{% set x %}{% for i in range(3) %}{{ i }}{% endfor %}{% endset %}{{ x | reverse }}",
]


def main():
    cases = []
    for template in ["{{ %s }}" % e for e in EXPRESSIONS] + TEMPLATES:
        answer = jinja_oracle.render(template, INPUTS, 1721952000.0)
        case = {"template": template}
        if "text" in answer:
            case["text"] = answer["text"]
        else:
            case["error"] = answer["error"] if answer["raised"] else ""
        cases.append(case)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.path.join(root, "tests", "templates", "expressions.json")
    with open(path, "w", encoding="utf-8") as f:
        f.write('{"inputs": %s,\n "cases": [\n' % json.dumps(INPUTS))
        f.write(",\n".join(json.dumps(case) for case in cases))
        f.write("\n]}\n")
    print("%d cases, %d of them errors" % (len(cases), sum("error" in case for case in cases)))


if __name__ == "__main__":
    main()
