# Which Python a project gets: the one it asks for, when this machine has it; nothing is ever downloaded.

# Versions on this machine, newest first, as `3.12 3.11`.
pythons() {
  local IFS=: directory file
  for directory in $PATH; do
    for file in "$directory"/python3.*; do
      if [[ -x $file && $file =~ /python(3\.[0-9]+)$ ]]; then printf '%s\n' "${BASH_REMATCH[1]}"; fi
    done
  done | sort -u -t. -k2,2nr | tr '\n' ' '
}

# The version that .python-version or runtime.txt asks for, or nothing.
asked_version() {
  local file line
  for file in .python-version runtime.txt; do
    [[ -f $file ]] || continue
    line=$(grep -m1 -v -E '^[[:space:]]*(#|$)' "$file" || true)
    line=${line//[[:space:]]/}
    line=${line#python-}
    [[ $line =~ ^3(\.[0-9]+){0,2}$ ]] || fail "$file: '$line' is not a version of Python" 'write it as 3.12'
    printf '%s %s\n' "$line" "$file"
    return
  done
}

# choose_python: sets `python` (a path) and prints nothing, or ends the build with the versions that are there.
choose_python() {
  local asked file minor
  asked=$(asked_version)
  file=${asked#* } asked=${asked% *}
  if [[ $asked == 3.* ]]; then
    minor=$(cut -d. -f1,2 <<<"$asked")
    python=$(type -P "python$minor") || fail "$file: Python $minor is not on this server" "there is: $(pythons)"
  elif [[ $installer == uv && -f pyproject.toml ]] && grep -q '^requires-python' pyproject.toml; then
    python=$("$uv" python find --system 2>/dev/null) ||
      fail "pyproject.toml: no Python here fits $(grep -m1 '^requires-python' pyproject.toml)" "there is: $(pythons)"
  else
    python=/usr/bin/python3
    if [[ ! -x $python ]]; then
      python=$(type -P python3) || fail 'python3: not found on this server' 'install python3'
    fi
  fi
}
