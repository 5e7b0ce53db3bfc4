# What every built-in pack shares: its voice, and how configuration variables come in.
# Sourced by bin/detect, bin/compile and bin/release; bash 4.3 or newer.

step() { printf -- '-----> %s\n' "$*"; }
detail() { printf '       %s\n' "$*"; }
indent() { sed -u 's/^./       &/'; }

# Says what is wrong, then what to do (each further argument is a line), and ends the build.
fail() {
  printf ' !     %s\n' "$@" >&2
  exit 1
}

# Exports the files of ENV_DIR as variables, byte for byte, except those that would break the build's own tools.
export_config() {
  local file name value
  [[ -d ${1:-} ]] || return 0
  for file in "$1"/*; do
    name=${file##*/}
    [[ -f $file && $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || continue
    case $name in
      PATH | HOME | LANG | BUILD_DIR | CACHE_DIR | ENV_DIR | IFS | ENV | BASH* | SHELLOPTS) continue ;;
      UID | EUID | PPID | pack | file | name | value) continue ;; # the shell's, and our own
      GIT_* | LD_* | CPATH | CPPATH | LIBRARY_PATH | PYTHONHOME | PYTHONPATH | VIRTUAL_ENV) continue ;;
    esac
    value=$(cat -- "$file" && printf x)
    export "$name=${value%x}"
  done
}

# Replaces directory $2 by a copy of directory $1, so that a killed build leaves the old one, the new one or none.
keep() {
  rm -rf -- "$2.new"
  mkdir -p -- "${2%/*}"
  cp -a --reflink=auto -- "$1" "$2.new"
  rm -rf -- "$2"
  mv -T -- "$2.new" "$2"
}

# First line of a file, or nothing.
first_line() {
  local line=''
  if [[ -f $1 ]]; then IFS= read -r line <"$1" || true; fi
  printf '%s' "${line%$'\r'}"
}
