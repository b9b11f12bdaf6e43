#!/bin/bash
# What every image is made of: the recipes of all roles run this inside their base, as root, and differ in arguments only.
# Needs in the environment: ROLE, BASE_IMAGE, LOCK (its path in the checkout), REVISION, BUILT_WITH; and in
# /usr/share/robustft the role's recipes and the lock. A pip.conf or a package index of the machine that builds is
# mounted for the time of the build and stays outside.
set -euo pipefail
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
recipe=/usr/share/robustft
lock=$recipe/${LOCK##*/}
prefix=/opt/robustft

say() { echo "[$ROLE] $*"; }

say "system packages"
apt-get update
# git tells a record which commit ran, also in a mounted checkout that belongs to another user.
apt-get install -y --no-install-recommends bash ca-certificates git python3 python3-venv
git config --system --add safe.directory '*'
useradd --create-home --shell /bin/bash robustft

say "Python packages of $LOCK"
# pip works from outside: what lies in the prefix is the lock and nothing else.
python3 -m venv /tmp/installer
python3 -m venv --without-pip "$prefix"
pip() { /tmp/installer/bin/python -m pip --python "$prefix/bin/python" "$@"; }
# No build isolation: it would download a setuptools without a hash. Where a lock holds packages without a wheel, it
# holds the setuptools that builds them, which comes first.
install=(install --no-cache-dir --no-compile --require-hashes --no-deps --no-build-isolation)
sed -n '/^setuptools==/,/[^\\]$/p' "$lock" >/tmp/setuptools.txt
if [ -s /tmp/setuptools.txt ]; then pip "${install[@]}" -r /tmp/setuptools.txt; fi
pip "${install[@]}" -r "$lock"
# pip cannot know that opencv-python-headless takes opencv-python's place (pyproject.toml).
broken=$(pip check | grep -v -e 'opencv-python, which is not installed' -e 'No broken requirements' || true)
if [ -n "$broken" ]; then say "$broken"; exit 1; fi

say "byte code"
# Compiled once, for no step can write here. Sources that are no Python of this version are left, so the status says
# nothing.
"$prefix/bin/python" -m compileall -q -j 0 --invalidation-mode unchecked-hash "$prefix/lib" || true

say "identity"
# What a step reads to know that it runs in here (pipeline/robustft/provenance/container.py).
RECIPE="$recipe" LOCK_FILE="$lock" "$prefix/bin/python" - <<'PYTHON'
import hashlib, json, os, pathlib

value = os.environ
recipe, role = pathlib.Path(value["RECIPE"]), value["ROLE"]
sha256 = lambda data: hashlib.sha256(data).hexdigest()
files = ("install.sh", "Dockerfile", f"robustft-{role}.def")
listing = "".join(f"{sha256((recipe / name).read_bytes())}  {name}\n" for name in files)
identity = {
    "name": f"robustft-{role}",
    "role": role,
    "base": value["BASE_IMAGE"],
    "lock": value["LOCK"],
    "lock_sha256": sha256(pathlib.Path(value["LOCK_FILE"]).read_bytes()),
    "recipe_sha256": sha256(listing.encode()),
    "revision": value["REVISION"],
    "built_with": value["BUILT_WITH"],
}
pathlib.Path("/etc/robustft-image.json").write_text(json.dumps(identity, indent=1) + "\n", encoding="utf-8")
PYTHON
cat /etc/robustft-image.json

# What Apptainer sets last. It lets the caller's locale win over the recipe's ENV. It shares /tmp between users, and
# Snakemake makes the checkout the home folder: a cache for each user. Docker has one user in a container, and the
# recipe's ENV says where.
mkdir -p /.singularity.d/env
cat >/.singularity.d/env/91-robustft.sh <<'SHELL'
export LANG=C.UTF-8 LC_ALL=C.UTF-8
export XDG_CACHE_HOME="/tmp/robustft-cache-$(id -u)"
export MPLCONFIGDIR="$XDG_CACHE_HOME/matplotlib" CUDA_CACHE_PATH="$XDG_CACHE_HOME/cuda"
SHELL

say "leftovers"
apt-get purge -y --auto-remove -o APT::AutoRemove::SuggestsImportant=false python3-venv
apt-get clean
rm -rf /tmp/installer /tmp/setuptools.txt /var/lib/apt/lists/* /var/cache/* /var/log/*.log /var/log/apt /root/.cache
