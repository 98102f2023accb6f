# `emotion serve` on a CPU: voices are predicted with the exported models that come with the package (ONNX, no torch).
#
#   docker build -t emotion-serve .
#   docker run --rm --read-only --tmpfs /tmp:size=2g -p 127.0.0.1:8000:8000 emotion-serve
FROM python:3.11-slim AS build
WORKDIR /build
COPY . .
RUN docker/install.sh /opt/emotion

FROM python:3.11-slim
COPY --from=build /opt/emotion /opt/emotion
ENV PATH=/opt/emotion/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --start-period=30s --timeout=5s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["emotion", "serve", "--host", "0.0.0.0"]
