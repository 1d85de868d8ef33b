#!/bin/sh
# Build the image for CPUs and run it as its users do: containers/check.sh [docker|podman], in the project's root.
# PIP_EXTRA_INDEX_URL: as of install.sh, for an image 4 GB smaller.
# BARE=PREFIX: where no registry of images is reached the base image is made, by root, of this machine's Debian
# (debootstrap) and of the Python in PREFIX, which has to be the version of the Dockerfile's.
# Apptainer's steps run in the image, whose packages need no second download: its files, %post, %environment, %runscript.
set -eu
builder=${1:-docker}
image=meddiff:check
base=$(sed -n 's/^FROM //p' Dockerfile)
work=$(mktemp -d)
trap 'rm -rf "$work" || true' EXIT

bare_base() {
    version=$(echo "$base" | sed 's/.*:\([0-9.]*\).*/\1/')
    debootstrap --variant=minbase --include=ca-certificates,libbz2-1.0,libffi8,liblzma5,libreadline8,libsqlite3-0,libssl3 \
        "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$work/base" >/dev/null
    cp -a "$BARE/." "$work/base/usr/local"
    rm -rf "$work/base/usr/local/lib/python$version/site-packages"
    chroot "$work/base" sh -c "ldconfig && python$version -m ensurepip" >/dev/null
    cp /etc/ssl/certs/ca-certificates.crt "$work/base/etc/ssl/certs/"
    tar -C "$work/base" -c . | "$builder" import --change "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt" \
        --change "ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" - "docker.io/library/$base" >/dev/null
    rm -rf "$work/base"
}

# As any user, in a root that is read-only, with a mounted run directory.
run() {
    "$builder" run --rm --read-only --tmpfs /tmp:exec --user 12345:12345 --volume "$work/mine:/mine" "$@"
}

# The lines of one section of Apptainer's definition.
section() {
    sed "1,/^%$1/d; /^%/,\$d; s/{{ DEVICE }}/cpu/; s|{{ PIP_EXTRA_INDEX_URL }}|${PIP_EXTRA_INDEX_URL:-none}|" containers/meddiff.def | sed 's/^    //'
}

[ -z "${BARE:-}" ] || "$builder" image inspect "docker.io/library/$base" >/dev/null 2>&1 || bare_base
"$builder" build ${BARE:+--isolation=chroot --pull=never} --build-arg DEVICE=cpu \
    --build-arg "PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL:-}" --tag "$image" .

mkdir -m 777 "$work/mine"
run "$image" | grep evaluate
run "$image" meddiff evaluate --help | head -3
run "$image" sh -c 'if touch /opt/meddiff/file; then exit 1; fi'
options="--cores 2 --directory /mine --configfile tests/smoke.yaml"
run "$image" snakemake --dry-run --quiet rules $options
run "$image" snakemake results/sample_checks.csv --quiet rules $options
cat "$work/mine/results/sample_checks.csv"

grep -qx "From: $base" containers/meddiff.def
section files | grep . | while read -r from to _; do # Apptainer reads no further word of a line either
    mkdir -p "$work/files$to" && cp -fLr "$from" "$work/files$to"
done
mkdir -p "$work/files/.steps"
for name in post environment runscript; do
    section "$name" >"$work/files/.steps/$name"
done
"$builder" rm --force meddiff-apptainer >/dev/null 2>&1 || true
"$builder" run --name meddiff-apptainer --user 0 --workdir / --volume "$work/files:/files:ro" "$image" \
    sh -ec 'rm -rf /opt/meddiff && cp -a /files/. / && sh -e /.steps/post'
"$builder" commit --quiet meddiff-apptainer "$image-apptainer" >/dev/null
"$builder" rm meddiff-apptainer >/dev/null
apptainer() {
    run --workdir /mine --env HOME=/mine --env LOGNAME=me "$image-apptainer" sh -ec \
        'unset XDG_CACHE_HOME MPLCONFIGDIR; . /.steps/environment; "$@"' sh "$@"
}
apptainer sh /.steps/runscript evaluate --help | head -3
cp tests/smoke.yaml "$work/mine/"
rm -rf "$work/mine/results"
apptainer snakemake results/sample_checks.csv --snakefile /opt/meddiff/workflow/Snakefile \
    --workflow-profile /opt/meddiff/profiles/default --cores 2 --directory /mine --configfile /mine/smoke.yaml --quiet rules
cat "$work/mine/results/sample_checks.csv"
echo "$builder: image and Apptainer's steps are right"
