# The image for people who have Docker; the demo makes the same one without it.
#   docker build -t REGISTRY/homeostat:0.1.0 .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package homeostat --bin homeostat && \
    mkdir -p /out/usr/bin /out/etc/ssl/certs && \
    cp target/release/homeostat /out/usr/bin/ && \
    cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ && \
    # The loader and the libraries that the program names, at their own paths.
    ldd target/release/homeostat | grep -o '/[^ ]*' | sort -u | xargs -I{} cp --parents --dereference {} /out

FROM scratch
COPY --from=build /out /
USER 65532:65532
EXPOSE 4317 8081
ENTRYPOINT ["/usr/bin/homeostat"]
CMD ["run"]
