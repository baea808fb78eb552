# weighup with its models, for `weighup serve` and every other command. No torch, no compiler, no root.
#
#   docker build -t weighup .
#   docker run --rm weighup doctor --offline
#
# It runs with a read-only root file system; what it writes goes to the three volumes below and to /tmp.

FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/weighup
ENV PATH=/opt/weighup/bin:$PATH WEIGHUP_CACHE_DIR=/var/cache/weighup
WORKDIR /build
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY docs/results/claims docs/results/claims
COPY src src
RUN pip install '.[serve,postgres]'
# Models and starter pack are part of the image, so that a container needs no network to check claims.
RUN weighup models pull \
 && python -c 'from weighup.retrieve.pack import open_starter_pack; open_starter_pack().close()' \
 && mkdir -p /var/cache/weighup/requests

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="weighup" \
      org.opencontainers.image.description="Weigh up what can be trusted" \
      org.opencontainers.image.source="https://github.com/weighup/weighup" \
      org.opencontainers.image.licenses="Apache-2.0"
# The engine of the language model is linked against libgomp.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 weighup \
 && useradd --uid 10001 --gid 10001 --home-dir /var/lib/weighup --no-create-home --shell /usr/sbin/nologin weighup \
 && install --directory --owner=weighup --group=weighup --mode=0750 /var/lib/weighup
COPY --from=build /opt/weighup /opt/weighup
COPY --from=build --chown=10001:10001 /var/cache/weighup /var/cache/weighup
ENV PATH=/opt/weighup/bin:$PATH \
    HOME=/var/lib/weighup \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    WEIGHUP_CACHE_DIR=/var/cache/weighup \
    WEIGHUP_MODELS__CACHE_SIZE=200000000 \
    WEIGHUP_DATABASE=/var/lib/weighup/serve.sqlite \
    WEIGHUP_RETRIEVE__STORE=/var/lib/weighup/evidence.sqlite
USER 10001:10001
WORKDIR /var/lib/weighup
# The build fails here if anything is missing.
RUN ["weighup", "doctor", "--offline"]
VOLUME ["/var/lib/weighup", "/var/cache/weighup/packs", "/var/cache/weighup/requests"]
EXPOSE 8642
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8642, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["weighup"]
# Elsewhere than on loopback it starts only if there is an API key: `weighup keys create`.
CMD ["serve", "--host", "0.0.0.0"]
