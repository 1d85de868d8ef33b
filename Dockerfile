# docker build --build-arg DEVICE=cuda --tag meddiff .    (cpu without the argument: then PIP_EXTRA_INDEX_URL too, see below)
# docker run --rm --read-only --tmpfs /tmp:exec --user "$(id -u):$(id -g)" --volume "$PWD/mine:/mine" meddiff \
#     snakemake --cores 2 --directory /mine results/table_5_2.csv
FROM python:3.12-slim-bookworm

# Of Debian git, for records and DVC, and a compiler, for compute.compile: torch.compile builds C++ for a CPU, and Triton, which
# writes a GPU's kernels, a launcher of each in C. The versions matter to no result.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git \
    && rm -rf /var/lib/apt/lists/*

# Nothing is written but to the run directory and /tmp: any user id, and a root that is read-only. Snakemake asks for the
# name of the user, which an id from outside has not; who it is stands in the author that git is given (GIT_AUTHOR_NAME, …).
ENV HOME=/tmp \
    LOGNAME=unknown \
    XDG_CACHE_HOME=/tmp/cache \
    MPLCONFIGDIR=/tmp/matplotlib \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1

ARG DEVICE=cpu
# For cpu: the address of PyTorch's index of builds for CPUs. Without it the image has 4 GB of CUDA that it does not use.
ARG PIP_EXTRA_INDEX_URL=
WORKDIR /opt/meddiff
COPY . .
RUN containers/install.sh "$DEVICE" && chmod -R a+rX .

CMD ["meddiff", "--help"]
