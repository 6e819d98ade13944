# Sourced by samples/run, tests/run, benchmarks/run and .ci/run: changes to the root of the tree, installs missing
# packages, configures and builds. Prints a line for each step.

set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

say() { printf '== %s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }
have() { type -P "$1" >/dev/null; }

# Prints the comment at the head of a script.
usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$1"; }

# quietly LINES COMMAND…: prints the output of a command only if it fails, and then only "tail -n LINES"
quietly() {
  local output
  output=$("${@:2}" 2>&1 </dev/null) || { tail -n "$1" <<<"$output" >&2; return 1; }
}

# The compiler command, as in CXX=clang++. `prepare` adds ccache again.
compiler=${CXX:-}
compiler=${compiler#ccache }
if [ -z "$compiler" ]; then
  compiler=g++
  if ! have g++ && have clang++; then compiler=clang++; fi
fi

# --- missing packages ---

# Succeeds if a program links with these arguments.
links() { echo 'int main() {}' | $compiler -x c++ - -o /dev/null "$@" 2>/dev/null; }

has_package() { have pkg-config && pkg-config --exists "$1"; }

# Prints the version of the Boost headers as Boost writes it (108100 is 1.81.0), or 0.
boost_number() {
  local line
  line=$(printf '#include <boost/version.hpp>\nBOOST_VERSION\n' | $compiler -E -P -x c++ - 2>/dev/null | tail -n 1) || true
  if [[ $line =~ ^[0-9]+$ ]]; then echo "$line"; else echo 0; fi
}

# Prints the Debian packages that are missing for: tools, boost, openssl, catch2, gtest, benchmark, clients, sanitizers,
# valgrind, coverage.
missing() {
  local program=${compiler%% *}
  case $1 in
    tools)
      have "$program" || echo "${program/clang++/clang}"
      have meson || echo meson
      have ninja || have ninja-build || echo ninja-build
      ;;
    boost)  # Meson itself searches BOOST_ROOT
      [ -n "${BOOST_ROOT:-}" ] || { [ "$(boost_number)" -ge 108100 ] && links -lboost_fiber -lboost_context; } ||
        echo libboost-fiber-dev
      ;;
    catch2 | gtest | benchmark)
      have pkg-config || echo pkg-config
      if ! has_package "$1"; then
        if [ "$1" = catch2 ]; then echo catch2; else echo "lib$1-dev"; fi
      fi
      ;;
    openssl)
      have pkg-config || echo pkg-config
      has_package openssl || echo libssl-dev
      ;;
    clients)  # tests/network drives the servers with these
      have curl || echo curl
      have nc || echo netcat-openbsd
      have openssl || echo openssl
      have wrk || echo wrk
      ;;
    sanitizers)  # g++ includes them
      [[ $compiler != *clang* ]] || links -fsanitize=thread || echo libclang-rt-dev
      ;;
    valgrind)  # the program and the header
      have valgrind || echo valgrind
      ;;
    coverage)
      { have llvm-cov && have llvm-profdata; } || echo llvm
      links -fprofile-instr-generate || echo libclang-rt-dev
      ;;
  esac
}

# Debian's default Boost may be too old. Prints the package of the oldest sufficient version, or the package to which the
# installed headers belong. A Boost that is too old stays: other programs may need it, and two versions conflict.
boost_package() {
  local number
  number=$(boost_number)
  if [ "$number" -eq 0 ]; then
    apt-cache pkgnames libboost-fiber1. | sort -V | awk -F '[.-]' '/-dev$/ && $3 >= 81 { print; exit }' | grep .
  elif [ "$number" -ge 108100 ]; then
    echo "libboost-fiber$((number / 100000)).$((number / 100 % 1000))-dev"
  else
    say "the installed Boost is older than 1.81; it stays" >&2
    return 1
  fi
}

apt_get() {
  local command=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 "$@")
  if [ "$(id -u)" != 0 ]; then command=(sudo "${command[@]}"); fi
  quietly 3 "${command[@]}"
}

# Installs packages. Never removes others: apt then fails and changes nothing.
apt_install() {
  if ! have apt-get || { [ "$(id -u)" != 0 ] && ! have sudo; }; then return 1; fi
  if ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; then
    say "updating the package lists"
    apt_get update || return
  fi
  if [ "$1" = libboost-fiber-dev ]; then set -- "$(boost_package)" && [ -n "$1" ] || return; fi

  say "installing $*"
  local install=(apt_get install --no-remove --no-install-recommends "$@")
  "${install[@]}" 2>/dev/null || { apt_get update && "${install[@]}"; }  # the lists may be out of date
}

# Installs missing tools and libraries. If that fails, missing tools are an error, and missing libraries are left to
# Meson's wraps.
require() {
  local what packages
  for what in tools "$@"; do
    # shellcheck disable=SC2207  # splits into words
    packages=($(missing "$what"))
    if [ ${#packages[@]} -eq 0 ] || apt_install "${packages[@]}"; then continue; fi
    if [ "$what" = tools ]; then die "please install ${packages[*]} (as Debian names them)"; fi
    say "not installed, left to Meson: ${packages[*]}"
    if have apt-get && [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then
      apt_install ca-certificates || true  # for the download
    fi
  done
}

# --- building ---

# build/debug for g++, build/debug-clang++ for clang++
build_dir() {
  local program=${compiler%% *}
  program=${program##*/}
  if [ "$program" = g++ ]; then echo "build/$1"; else echo "build/$1-$program"; fi
}

# prepare DIRECTORY "LIBRARY…" OPTION…: installs missing packages and configures, unless the directory is configured
prepare() {
  if [ -e "$1/build.ninja" ]; then return; fi
  # shellcheck disable=SC2086  # splits into words
  require $2
  say "configuring $1 for $compiler"
  rm -rf "$1"  # may be left from a failed attempt
  local ccache=
  if have ccache; then ccache='ccache '; fi  # Meson does not search for it if CXX is set
  CXX=$ccache$compiler quietly 3 meson setup "$1" "${@:3}"
}

# build DIRECTORY [TARGET…]
build() {
  local ninja
  ninja=$(type -P ninja || type -P ninja-build)
  if [[ $("$ninja" -C "$1" -n "${@:2}") == *'no work to do'* ]]; then return; fi
  say "building $1"
  quietly +1 "$ninja" -C "$1" "${@:2}"
}

# --- programs ---

# choose FOLDER NAME…: sets `names` to these programs of a folder, or to all
choose() {
  local all=("$1"/*.cpp) name
  all=("${all[@]##*/}")
  all=("${all[@]%.cpp}")
  names=("${@:2}")
  for name in "${names[@]}"; do
    if [[ " ${all[*]} " != *" $name "* ]]; then die "there is no '$name' in $1; there are: ${all[*]}"; fi
  done
  if [ ${#names[@]} -eq 0 ]; then names=("${all[@]}"); fi
}

# run_each FOLDER ARGUMENT…: runs these programs of a built folder
run_each() {
  local name failed=0
  for name in "${names[@]}"; do
    say "$name"
    "$1/$name" "${@:2}" || { echo "exit status: $?"; failed=1; }
  done
  return $failed
}
