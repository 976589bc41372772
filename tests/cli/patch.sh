#!/bin/sh
# patch.sh CARAT DATA - metadata changes, tensors do not
. "$(dirname "$0")/expect.sh"

file=$work/model.gguf
run convert "$data/golden/31b" -o "$file" --type Q8_0
status 0

# the bytes of all tensors: what follows the header
tensors() {
    "$carat" inspect "$file" --json > "$work/json"
    start=$(sed 's/.*"data_start":\([0-9]*\).*/\1/;t;d' "$work/json")
    [ -n "$start" ] || start=$("$carat" inspect "$file" |
        sed -n '1s/.*data from byte \([0-9]*\).*/\1/p')
    tail -c +$((start + 1)) "$file" | cksum
}
before=$(tensors)
size=$(wc -c < "$file")

# a file that was just converted has room: a new key and a template of 40 KB go in place
printf '{# %40000s #}{{ messages[0].content }}' x > "$work/forty.jinja"
run patch "$file" --metadata first.note='there was room' --chat-template "$work/forty.jinja"
status 0
prints "$file: metadata written in place"
[ "$(wc -c < "$file")" = "$size" ] || complain 'the size changed'
[ "$(tensors)" = "$before" ] || complain 'tensors changed'
run patch "$file" --chat-template "$data/golden/31b/chat_template.jinja"
prints "$file: metadata written in place"

# of the same length: in place
run patch "$file" --metadata general.name=31c
status 0
silent
prints "$file: metadata written in place"
[ "$(wc -c < "$file")" = "$size" ] || complain 'the size changed'
[ "$(tensors)" = "$before" ] || complain 'tensors changed'
run inspect "$file"
prints_part '"31c"'

# a much shorter template leaves slack, which a longer one takes
printf 'short' > "$work/short.jinja"
run patch "$file" --chat-template "$work/short.jinja"
prints "$file: metadata written in place"
[ "$(tensors)" = "$before" ] || complain 'tensors changed by a shorter template'
run patch "$file" --chat-template "$data/golden/31b/chat_template.jinja" --json
prints "{\"path\":\"$file\",\"in_place\":true}"
[ "$(tensors)" = "$before" ] || complain 'tensors changed by the old template'

# a broken one is written as it is, and said to be broken
printf '{%% for m in messages %%}{{ m.content' > "$work/broken.jinja"
run patch "$file" --chat-template "$work/broken.jinja"
status 0
prints "$file: metadata written in place"
says 'carat: warning: chat template: line 1 of the template: a tag without its end; written as it is'
run inspect "$file" --key tokenizer.chat_template
prints "$(cat "$work/broken.jinja")"

# longer than all slack: a new file, and then there is slack
cat "$work/forty.jinja" "$work/forty.jinja" "$work/forty.jinja" > "$work/long.jinja"
run patch "$file" --chat-template "$work/long.jinja"
status 0
prints "$file: metadata longer than before: file written anew"
[ "$(tensors)" = "$before" ] || complain 'tensors changed by moving'
run patch "$file" --metadata note.of.mine='anything at all, as long as it is text'
prints "$file: metadata written in place"
[ "$(tensors)" = "$before" ] || complain 'tensors changed by a new key'
run inspect "$file"
status 0
prints_part 'anything at all'

# values keep their type; the layout's keys stay
run patch "$file" --metadata gemma4.context_length=16384
status 0
run inspect "$file"
prints_part '16384'
run patch "$file" --metadata gemma4.context_length=many
status 2
says 'carat: gemma4.context_length: "many" is no u32'
run patch "$file" --metadata general.alignment=64
status 2
says "carat: general.alignment: what the file's layout rests on stays"
run patch "$file"
status 2
says_part 'nothing to change'
run patch "$work/none.gguf" --metadata a=b
status 2
[ "$(tensors)" = "$before" ] || complain 'a refusal changed tensors'
finish
