# Which directory of a static site is served: COMMIS_STATIC_ROOT, else the first with an index.html.

# static_root BUILD_DIR: prints it, relative to BUILD_DIR.
static_root() {
  local root
  if [[ -n ${COMMIS_STATIC_ROOT:-} ]]; then
    root=${COMMIS_STATIC_ROOT%/}
    [[ $root =~ ^[A-Za-z0-9._/-]+$ && $root != [-/]* && /$root/ != */../* ]] ||
      fail "static root '$COMMIS_STATIC_ROOT': not a plain directory name inside the project"
    [[ -d $1/$root ]] || fail "static root '$root': there is no such directory"
    printf '%s\n' "$root"
    return
  fi
  for root in . public dist _site; do
    if [[ -f $1/$root/index.html ]]; then
      printf '%s\n' "$root"
      return
    fi
  done
  [[ -f $1/.static ]] || fail 'no index.html in . public dist _site' 'set COMMIS_STATIC_ROOT to the directory to serve'
  printf '.\n'
}
