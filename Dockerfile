# kvplace in a container: docker build -t kvplace . && docker run --rm -v "$PWD:/work" kvplace --help
FROM python:3.13-slim
COPY . /src
RUN pip install --no-cache-dir '/src[all]' && rm -rf /src \
    && useradd --create-home kvplace
USER kvplace
WORKDIR /work
ENTRYPOINT ["kvplace"]
