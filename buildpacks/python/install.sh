# The ways of filling .venv, one function each. All take extra arguments for uv, such as --offline. They are called
# in conditions, where `set -e` sleeps: every step is tied to the next.

# uv.lock rules; one that does not fit pyproject.toml any more is an error, never quietly renewed.
install_locked() { "$uv" sync --locked --no-dev --python "$python" "$@"; }

# pyproject.toml without a lock: the versions of the last build are kept as far as they still fit.
install_project() {
  if [[ -f $store/uv.lock ]]; then cp -- "$store/uv.lock" uv.lock || return 1; fi
  "$uv" sync --no-dev --python "$python" "$@" && mkdir -p -- "$store" && cp -- uv.lock "$store/uv.lock"
}

install_requirements() { make_environment && "$uv" pip install --python .venv -r requirements.txt "$@"; }
install_here() { make_environment && "$uv" pip install --python .venv . "$@"; }
make_environment() { [[ -d .venv ]] || "$uv" venv --quiet --python "$python" .venv; }

# The same with pip, for projects that ask for it. It compiles afterwards, so that what is compiled outlives a
# change of file times.
install_by_pip() {
  local what=(.)
  if [[ -f requirements.txt ]]; then what=(-r requirements.txt); fi
  if [[ ! -d .venv ]]; then
    "$python" -m venv .venv || fail "$python -m venv failed" 'on Debian the package python3-venv is needed'
  fi
  .venv/bin/python -m pip install --disable-pip-version-check --no-input --progress-bar off --no-compile "${what[@]}" || return 1
  # Packages carry files that are not for this Python (templates, tests of syntax errors): no reason to fail.
  .venv/bin/python -m compileall -qq -j 0 --invalidation-mode checked-hash .venv/lib || true
}
