#!/bin/sh
# Prints the home of a Java 25 or newer: find-jdk.sh [--javac]
#
#   --javac   one that can compile, not only run
#
# Looked at in this order: GATUN_JAVA_HOME (if set, nothing else counts), JAVA_HOME, the java on PATH, then where
# packages, SDKMAN, IDEs and macOS put theirs. Decided by the file "release" of each, so no process is started.
# Finding none is one line on standard error and exit code 1.
set -u

oldest=25

need_javac=no
case ${1-} in
  --javac) need_javac=yes ;;
  '') ;;
  *)
    echo "usage: find-jdk.sh [--javac]" >&2
    exit 2
    ;;
esac

# Whether $1 is the home of a Java that is new enough.
suits() {
  [ -x "$1/bin/java" ] && [ -r "$1/release" ] || return 1
  [ "$need_javac" = no ] || [ -x "$1/bin/javac" ] || return 1
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
      JAVA_VERSION=*)
        # JAVA_VERSION="25.0.3" or "26" or "27-ea": the digits in front.
        major=${line#JAVA_VERSION=}
        major=${major#\"}
        major=${major%%[!0-9]*}
        [ -n "$major" ] && [ "$major" -ge "$oldest" ]
        return
        ;;
    esac
  done <"$1/release"
  return 1
}

found() {
  printf '%s\n' "$1"
  exit 0
}

if [ "$need_javac" = yes ]; then
  wanted="JDK $oldest"
else
  wanted="Java $oldest"
fi

if [ -n "${GATUN_JAVA_HOME-}" ]; then
  suits "$GATUN_JAVA_HOME" && found "$GATUN_JAVA_HOME"
  echo "gatun: GATUN_JAVA_HOME=$GATUN_JAVA_HOME is not the home of a $wanted or newer; correct or unset it" >&2
  exit 1
fi

if [ -n "${JAVA_HOME-}" ]; then
  suits "$JAVA_HOME" && found "$JAVA_HOME"
fi

if java=$(command -v java) && java=$(readlink -f -- "$java"); then
  home=${java%/bin/java}
  suits "$home" && found "$home"
fi

for home in \
  /usr/lib/jvm/* \
  /opt/* \
  "${HOME-}"/.sdkman/candidates/java/* \
  "${HOME-}"/.jdks/* \
  /Library/Java/JavaVirtualMachines/*/Contents/Home; do
  suits "$home" && found "$home"
done

echo "gatun: no $wanted or newer found; install one (for example temurin-25-jdk or openjdk-25-jdk), or set" \
  "GATUN_JAVA_HOME or JAVA_HOME to where it is" >&2
exit 1
