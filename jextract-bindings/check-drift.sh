#!/usr/bin/env bash
# Tells whether the committed bindings still belong to the public headers and the argfiles. Needs no jextract.
# It compares SHA-256 sums with MANIFEST, and the functions that the headers declare with those that gatun.args lists.
# One line per problem and exit status 1, or one line in all and 0.
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"
headers=(../native/include/*.h)

problems=0
problem() {
  printf 'bindings: %s\n' "$*" >&2
  problems=$((problems + 1))
}

# Without comments and preprocessor lines, one declaration a line; of each the first gatun_ name before a parenthesis.
declared_functions() {
  sed -zE -e 's:\\\n::g' -e 's:/\*([^*]|\*+[^*/])*\*+/: :g' -e 's://[^\n]*::g' -e 's:(^|\n)[ \t]*#[^\n]*:\1:g' "${headers[@]}" |
    tr '\n' ' ' | tr ';{}' '\n\n\n' |
    sed -nE '/\<GATUN_API\>/{s/^.*\<GATUN_API\>//;s/\<(gatun_[A-Za-z0-9_]+)[[:space:]]*\(.*$/\n\1/;s/^.*\n//p}' | sort -u
}

listed_functions() {
  sed -nE 's/^[[:space:]]*--include-function[[:space:]]+([^[:space:]]+).*$/\1/p' gatun.args | sort -u
}

if [[ ! -f MANIFEST ]]; then
  problem 'MANIFEST is missing; run make bindings'
  exit 1
fi

declare -A expected=()
while IFS= read -r line; do
  if [[ $line =~ ^sha256\ ([^:]+):\ ([0-9a-f]{64})$ ]]; then
    expected[${BASH_REMATCH[1]}]=${BASH_REMATCH[2]}
  fi
done <MANIFEST

matches=0
generated=0
for name in "${headers[@]##*/}" gatun.args cblas.args; do
  [[ -n ${expected[$name]:-} ]] || problem "MANIFEST has no sum of $name"
done
while IFS= read -r name; do
  case $name in
    cblas.h | openblas_config.h) continue ;; # OpenBLAS's, not in this repository
    *.h) file=../native/include/$name ;;
    *.java) file=$name generated=$((generated + 1)) ;;
    *) file=$name ;;
  esac
  if [[ ! -f $file ]]; then
    problem "$name is missing"
  elif [[ $(sha256sum <"$file" | cut -d ' ' -f 1) == "${expected[$name]}" ]]; then
    matches=$((matches + 1))
  elif [[ $name == *.java ]]; then
    problem "$name differs from what was generated; generated files are never edited"
  else
    problem "$name has changed since the bindings were generated; run make bindings"
  fi
done < <(printf '%s\n' "${!expected[@]}" | sed '/^$/d' | sort)
((generated > 0)) || problem 'MANIFEST lists no generated file'

while IFS= read -r file; do
  [[ -n ${expected[$file]:-} ]] || problem "$file is not listed in MANIFEST"
done < <(find . -name '*.java' | sed 's:^\./::' | sort)

if [[ -f ${headers[0]} && -f gatun.args ]]; then
  [[ -n $(declared_functions) ]] || problem 'no GATUN_API function found in the headers'
  while IFS= read -r name; do
    problem "$name is declared in a header but not listed in gatun.args"
  done < <(comm -23 <(declared_functions) <(listed_functions))
  while IFS= read -r name; do
    problem "$name is listed in gatun.args but not declared in a header"
  done < <(comm -13 <(declared_functions) <(listed_functions))
fi

((problems == 0)) || exit 1
printf 'bindings: %d files match\n' "$matches"
