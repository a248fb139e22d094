#!/bin/sh
# Runs the tests that need a real ComfyUI, with the newest one that is found and then with the oldest supported one.
#
# usage: with_comfyui.sh VENV [pytest arguments]
#
# VENV is an environment of our own that sees the packages of ComfyUI's, so that nothing is installed into ComfyUI's.
# Without a ComfyUI the tests are skipped with a line that says so; with REQUIRE_COMFYUI=1 that is a failure.
set -eu

venv=$1
shift
found=$("${PYTHON:-python3}" tests/find_comfyui.py) || exit $?
if [ -z "$found" ]; then
    if [ "${REQUIRE_COMFYUI:-}" = 1 ]; then
        echo "FAILED: no ComfyUI was found, and REQUIRE_COMFYUI=1 asks for one. Set COMFYUI_PATH." >&2
        exit 1
    fi
    echo "SKIPPED: no ComfyUI was found; the tests in tests/nodes and tests/e2e need one. Set COMFYUI_PATH."
    exit 0
fi

root=$(echo "$found" | sed -n 1p)
python=$(echo "$found" | sed -n 2p)
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if [ ! -f "$venv/ready" ] || [ "$(cat "$venv/ready")" != "$packages" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
    own=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "$packages" >"$own/comfyui.pth"
    "$venv/bin/python" -m pip install --quiet "pytest>=8" "hypothesis>=6.100" "playwright>=1.40"
    echo "$packages" >"$venv/ready"
fi

# With EMPTY_OK=1 it is no failure that a folder has no test of the kind that is asked for.
tests() {
    "$venv/bin/pytest" "$@" || { code=$?; [ "$code" = 5 ] && [ "${EMPTY_OK:-}" = 1 ] || exit "$code"; }
}

export COMFYUI_PATH="$root" COMFYUI_PYTHON="$python"
tests "$@" tests/nodes
# The oldest ComfyUI that is supported shares the environment.
oldest=${COMFYUI_OLDEST:-$HOME/ComfyUI-0.3.64}
if [ -f "$oldest/main.py" ]; then
    (COMFYUI_PATH="$oldest" && export COMFYUI_PATH && tests "$@" tests/nodes)
else
    echo "SKIPPED: no ComfyUI 0.3.64 in $oldest; the tests in tests/nodes ran with the found one only."
fi
tests "$@" tests/e2e
