//! How fast the intake is, beside the peer crate `prometheus-parse`, in one run:
//! `cargo run --release -p weir-intake --example intake_bench`
//!
//! Prints MB/s of parsing a collector's body with as many other families as real ones have, the time of
//! one tick of an object, bytes per object, and scrapes/s against a server in this process (client and
//! server share the machine's cores, so the client alone is faster than that).

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use weir_core::ids::UnixMs;
use weir_core::window::Window;
use weir_intake::exposition::Format;
use weir_intake::{
    HttpClients, Intake, IntakeOptions, Mono, Observation, OtelOptions, PodOutcome, PodReport, Profile, Readings, ScrapeOptions, ScrapeTarget, Scraper,
};

/// Counts live bytes and allocations.
struct Counting;
static LIVE: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code, reason = "an allocator that counts can't be written without; it hands everything to the system's")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// About `kilobytes` kB as a collector at level detailed writes them: its own 20 families, and histograms of gRPC and HTTP.
fn collector_body(kilobytes: usize, accepted: u64) -> String {
    let labels = "service_instance_id=\"0b7c4f9e-51c1-4e4e-9a56-0f2d8f0c6a11\",service_name=\"otelcol\",service_version=\"0.149.0\"";
    let mut body = String::new();
    for (name, kind, more, value) in [
        ("otelcol_exporter_queue_capacity", "gauge", "data_type=\"logs\",exporter=\"otlphttp/0\",", 1_000),
        ("otelcol_exporter_queue_size", "gauge", "data_type=\"logs\",exporter=\"otlphttp/0\",", 12),
        ("otelcol_exporter_send_failed_log_records", "counter", "exporter=\"otlphttp/0\",", 3),
        ("otelcol_exporter_sent_log_records", "counter", "exporter=\"otlphttp/0\",", accepted),
        ("otelcol_process_cpu_seconds", "counter", "", 4_711),
        ("otelcol_process_memory_rss", "gauge", "", 91_234_304),
        ("otelcol_process_uptime", "counter", "", 1_000_000),
        ("otelcol_receiver_accepted_log_records", "counter", "receiver=\"otlp\",transport=\"grpc\",", accepted),
        ("otelcol_receiver_refused_log_records", "counter", "receiver=\"otlp\",transport=\"grpc\",", 0),
    ] {
        body.push_str(&format!("# HELP {name} Says what it is. [Alpha]\n# TYPE {name} {kind}\n{name}{{{more}{labels}}} {value}\n"));
    }
    let others = ["rpc_server_call_duration_seconds", "http_client_request_duration_seconds", "otelcol_processor_batch_batch_send_size"];
    for (series, name) in others.iter().cycle().enumerate() {
        if body.len() >= kilobytes * 1_000 {
            break;
        }
        body.push_str(&format!("# HELP {name}_{series} Duration of calls.\n# TYPE {name}_{series} histogram\n"));
        for (n, le) in ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"].iter().enumerate() {
            body.push_str(&format!(
                "{name}_{series}_bucket{{rpc_method=\"Export\",rpc_service=\"opentelemetry.proto.collector.logs.v1.LogsService\",{labels},le=\"{le}\"}} {}\n",
                n * 1_000 + series
            ));
        }
        body.push_str(&format!("{name}_{series}_sum{{{labels}}} 12.25\n{name}_{series}_count{{{labels}}} 11000\n"));
    }
    body
}

/// Median seconds of a few runs of `work`.
fn median(mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..21)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times.get(10).copied().unwrap_or(f64::NAN)
}

fn parsing(profile: &Profile) -> Result<(), Box<dyn std::error::Error>> {
    println!("parsing, median of 21 runs                weir-intake   prometheus-parse");
    for kilobytes in [20, 200] {
        let body = collector_body(kilobytes, 123_456);
        let megabytes = body.len() as f64 / 1e6;
        let mut readings = Readings::new();
        readings.read(Mono(1), Format::Text, body.as_bytes(), profile)?;
        let calls = CALLS.load(Ordering::Relaxed);
        readings.read(Mono(1), Format::Text, body.as_bytes(), profile)?;
        let calls = CALLS.load(Ordering::Relaxed) - calls;
        let own = median(|| {
            let _ = black_box(readings.read(Mono(1), Format::Text, black_box(body.as_bytes()), profile));
        });
        let peer = median(|| {
            let lines = black_box(&body).lines().map(|line| Ok(line.to_owned()));
            let _ = black_box(prometheus_parse::Scrape::parse(lines));
        });
        println!(
            "  {kilobytes:>3} kB body, {} wanted samples     {:>8.0} MB/s   {:>8.1} MB/s   ({:.0} times; {calls} allocations; {:.1} µs a body)",
            readings.len(),
            megabytes / own,
            megabytes / peer,
            peer / own,
            own * 1e6
        );
    }
    Ok(())
}

fn ticking(profile: &Arc<Profile>) -> Result<(), Box<dyn std::error::Error>> {
    let objects = 1_000_usize;
    let before = LIVE.load(Ordering::Relaxed);
    let mut intakes = Vec::with_capacity(objects);
    for _ in 0..objects {
        intakes.push(Intake::new(profile.clone(), IntakeOptions::default())?);
    }
    let mut readings = Readings::new();
    let mut window = Window::default();
    let mut times = Vec::new();
    let mut calls = 0;
    for second in 0..70_u32 {
        let mono = Mono(u64::from(second) * 1_000_000);
        readings.read(mono, Format::Text, collector_body(3, u64::from(second) * 1_000).as_bytes(), profile)?;
        let (start, counted) = (Instant::now(), CALLS.load(Ordering::Relaxed));
        for intake in &mut intakes {
            let pods = [PodReport { pod: "collector-0", incarnation: 1, ready_since: UnixMs(0), outcome: PodOutcome::Scraped(&readings) }];
            intake.observe(&Observation { now: UnixMs(1_700_000_000_000 + i64::from(second) * 1_000), mono, pods: &pods, queries: &[] });
            intake.window_into(&mut window);
            black_box(&window);
        }
        times.push(start.elapsed().as_secs_f64() / objects as f64);
        calls = CALLS.load(Ordering::Relaxed) - counted;
    }
    times.sort_by(f64::total_cmp);
    let tick = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
    let bytes = (LIVE.load(Ordering::Relaxed) - before) / objects;
    println!(
        "a tick of an object with one pod, window of 60 slots written: {:.2} µs, {calls} allocations in {objects} ticks, {bytes} bytes an object",
        tick * 1e6
    );
    Ok(())
}

/// The processor time of this thread's process so far, from /proc; 0 where there is none.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks() + ticks()) / 100.0
}

async fn serve(listener: tokio::net::TcpListener, response: Arc<Vec<u8>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let response = response.clone();
        tokio::spawn(async move {
            let mut request = [0; 2_048];
            while stream.read(&mut request).await.is_ok_and(|n| n > 0) {
                if stream.write_all(&response).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn scraping(profile: &Arc<Profile>) -> Result<(), Box<dyn std::error::Error>> {
    for kilobytes in [4, 20, 200] {
        let body = collector_body(kilobytes, 1);
        let response =
            Arc::new(format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes());
        // one port per pod, so that each has its own connection
        let listeners: Vec<std::net::TcpListener> = (0..16).map(|_| std::net::TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().map(|addr| addr.port())).collect::<Result<_, _>>()?;
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async move {
                for listener in listeners {
                    listener.set_nonblocking(true)?;
                    tokio::spawn(serve(tokio::net::TcpListener::from_std(listener)?, response.clone()));
                }
                std::future::pending::<Result<(), std::io::Error>>().await
            })
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (scrapes, seconds, cpu) = runtime.block_on(async {
            let clients = HttpClients::new();
            let start = Instant::now();
            let mut tasks = Vec::new();
            let (cpu, done) = (cpu_seconds(), Arc::new(AtomicUsize::new(0)));
            for port in ports {
                let options = Arc::new(ScrapeOptions { port, timeout_ms: 10_000, ..ScrapeOptions::default() });
                let target = ScrapeTarget::new(&clients, "127.0.0.1", &options)?;
                let (profile, done) = (profile.clone(), done.clone());
                tasks.push(tokio::task::spawn(async move {
                    let scraper = Scraper::new(start);
                    let mut readings = Readings::new();
                    while start.elapsed() < Duration::from_secs(2) {
                        match scraper.scrape(&target, &profile, &mut readings).await {
                            Ok(()) => done.fetch_add(1, Ordering::Relaxed),
                            Err(error) => return Err(error),
                        };
                    }
                    Ok(())
                }));
            }
            for task in tasks {
                task.await??;
            }
            Ok::<_, Box<dyn std::error::Error>>((done.load(Ordering::Relaxed), start.elapsed().as_secs_f64(), cpu_seconds() - cpu))
        })?;
        println!(
            "scraping {kilobytes:>3} kB bodies over 16 kept connections, one thread: {:.0} scrapes/s, {:.0} µs of processor time each",
            scrapes as f64 / seconds,
            cpu * 1e6 / scrapes as f64
        );
    }
    Ok(())
}

fn main() -> ExitCode {
    let run = || -> Result<(), Box<dyn std::error::Error>> {
        let profile = Arc::new(Profile::otel_collector(&OtelOptions::default(), &[])?);
        parsing(&profile)?;
        ticking(&profile)?;
        scraping(&profile)
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
