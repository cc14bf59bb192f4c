#!/usr/bin/env bash
# Generates the Java bindings of gatun.h, with what it includes, and cblas.h with jextract, and MANIFEST beside them.
#
#   generate.sh JEXTRACT [OUT_DIR] CBLAS_INCLUDE_DIR
#
#   JEXTRACT           the jextract launcher, a path or a command on PATH
#   OUT_DIR            root of the generated packages and of MANIFEST; default: this directory
#   CBLAS_INCLUDE_DIR  directory that holds OpenBLAS's cblas.h and openblas_config.h
#
# A jextract without a release number of its own can name its commit in the
# environment variable JEXTRACT_COMMIT, or in a file COMMIT beside its bin directory.
set -euo pipefail
export LC_ALL=C

die() {
  printf 'generate.sh: %s\n' "$*" >&2
  exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case $# in
  2) jextract=$1 out=$here cblas=$2 ;;
  3) jextract=$1 out=${2:-$here} cblas=$3 ;;
  *)
    echo 'usage: generate.sh JEXTRACT [OUT_DIR] CBLAS_INCLUDE_DIR' >&2
    exit 2
    ;;
esac

jextract=$(command -v -- "$jextract") || die "no such program: $1"
jextract=$(readlink -f -- "$jextract")
headers=("$here"/../native/include/*.h)
for file in "${headers[@]}" "$cblas/cblas.h" "$cblas/openblas_config.h"; do
  [[ -f $file ]] || die "no such file: $file"
done
mkdir -p -- "$out"
out=$(cd -- "$out" && pwd)

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
mkdir "$work/include" "$work/empty" "$work/java"
# Copies, so that what is hashed is what was read.
cp -- "${headers[@]}" "$cblas/cblas.h" "$cblas/openblas_config.h" "$work/include"
cp -- "$here/gatun.args" "$here/cblas.args" "$work"
# jextract reads compile_flags.txt and looks for headers in the current directory: make that an empty one.
cd "$work/empty"

version=$("$jextract" --version 2>&1) || die "$jextract --version failed: $version"
field() {
  local value
  value=$(sed -n "s/^$1 *//p" <<<"$version" | head -n 1)
  printf '%s' "${value:-unknown}"
}
libclang=$(field 'LibClang version')
case $libclang in
  *'clang version 14.'*) ;;
  *) printf 'generate.sh: warning: this jextract uses %s; see README.md about libclang 14\n' "$libclang" >&2 ;;
esac
commit=${JEXTRACT_COMMIT:-}
commit_file=$(dirname "$jextract")/../COMMIT
if [[ -z $commit && -f $commit_file ]]; then
  commit=$(head -n 1 "$commit_file")
fi

for name in gatun cblas; do
  "$jextract" "@$work/$name.args" --include-dir "$work/include" --output "$work/java" "$name.h" ||
    die "jextract failed on $name.h"
  # jextract says nothing of a name that the header does not have.
  while read -r symbol; do
    grep -rqwF -- "$symbol" "$work/java/dev/gatun/internal/$name" ||
      die "$name.args asks for $symbol, which $name.h does not have"
  done < <(sed -nE 's/^--include-[a-z]+ +//p' "$work/$name.args")
done

hash() { sha256sum <"$1" | cut -d ' ' -f 1; }
{
  printf 'jextract: %s\n' "$(field jextract)"
  printf 'jextract-commit: %s\n' "${commit:-unknown}"
  printf 'jextract-jdk: %s\n' "$(field 'JDK version')"
  printf 'libclang: %s\n' "$libclang"
  for file in "${headers[@]##*/}" cblas.h openblas_config.h; do
    printf 'sha256 %s: %s\n' "$file" "$(hash "$work/include/$file")"
  done
  for file in gatun.args cblas.args; do
    printf 'sha256 %s: %s\n' "$file" "$(hash "$work/$file")"
  done
  cd "$work/java"
  while IFS= read -r file; do
    printf 'sha256 %s: %s\n' "$file" "$(hash "$file")"
  done < <(find dev -type f | sort)
} >"$work/MANIFEST"

for name in gatun cblas; do
  target=$out/dev/gatun/internal/$name
  rm -rf -- "$target"
  mkdir -p -- "$(dirname "$target")"
  cp -R -- "$work/java/dev/gatun/internal/$name" "$target"
done
cp -- "$work/MANIFEST" "$out/MANIFEST"

if [[ $out == "$here" ]]; then
  "$here/check-drift.sh"
else
  printf 'bindings: %s files generated\n' "$(find "$work/java" -type f | wc -l)"
fi
