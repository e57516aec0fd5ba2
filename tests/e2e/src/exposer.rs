//! Pods' metrics, served by the test itself. At the level of a control plane pods are played and
//! answer nobody; a test gives them addresses of this machine ([`crate::Plane::place`]) at which this
//! server answers, well or badly, and remembers when it was asked.

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Makes the text of one answer.
pub type Exposition = Arc<dyn Fn() -> String + Send + Sync>;

/// What a pod answers to whoever asks for its metrics.
#[derive(Clone)]
pub enum Says {
    /// An exposition, made anew for each question.
    Metrics(Exposition),
    /// The same after a while.
    Late(Duration, Exposition),
    /// These bytes, head and all; then the connection ends.
    Bytes(Arc<[u8]>),
    /// The first bytes, and then the second ones for as long as somebody takes them.
    Endless(Arc<[u8]>, Arc<[u8]>),
    /// Nothing, on a connection that stays open.
    Silence,
    /// Nobody listens.
    Gone,
}

/// A counter that goes on by itself at a rate.
#[derive(Debug)]
pub struct Counter(Mutex<(f64, Instant, f64)>);

impl Counter {
    /// From zero, at a rate per second.
    #[must_use]
    pub fn new(rate: f64) -> Arc<Self> {
        Arc::new(Self(Mutex::new((0.0, Instant::now(), rate))))
    }

    /// Its value now.
    #[must_use]
    pub fn value(&self) -> f64 {
        let (value, since, rate) = *self.0.lock();
        value + since.elapsed().as_secs_f64() * rate
    }

    /// Goes on at another rate.
    pub fn set_rate(&self, rate: f64) {
        let value = self.value();
        *self.0.lock() = (value, Instant::now(), rate);
    }

    /// Begins at zero again, as that of a process that was started anew.
    pub fn restart(&self) {
        let mut state = self.0.lock();
        (state.0, state.1) = (0.0, Instant::now());
    }
}

/// When it was asked for which path.
type Asked = Mutex<Vec<(Instant, String)>>;

struct Host {
    address: Ipv4Addr,
    says: watch::Sender<Says>,
    asked: Arc<Asked>,
}

/// One server for each of some addresses of this machine, all at one port. Ends when it is dropped.
pub struct Exposer {
    port: u16,
    hosts: Vec<Host>,
    _tasks: JoinSet<()>,
}

impl Exposer {
    /// Listens on 127.0.0.2 and so many addresses in all.
    ///
    /// # Errors
    /// No port is free on all of them.
    pub async fn start(count: u8, says: Says) -> Result<Self> {
        let addresses: Vec<Ipv4Addr> = (0..count).map(|number| Ipv4Addr::new(127, 0, 0, number.saturating_add(2))).collect();
        let (port, listeners) = listen(&addresses).await?;
        let mut tasks = JoinSet::new();
        let mut hosts = Vec::new();
        for (address, listener) in addresses.into_iter().zip(listeners) {
            let asked = Arc::new(Asked::default());
            let (sender, receiver) = watch::channel(says.clone());
            tasks.spawn(host(SocketAddr::from((address, port)), listener, receiver, asked.clone()));
            hosts.push(Host { address, says: sender, asked });
        }
        Ok(Self { port, hosts, _tasks: tasks })
    }

    /// The port of all addresses.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address with that number, from 0.
    ///
    /// # Errors
    /// There are fewer.
    pub fn address(&self, number: usize) -> Result<String> {
        Ok(self.host(number)?.address.to_string())
    }

    /// From now on that address answers so. Connections that are open end when it is gone.
    ///
    /// # Errors
    /// There are fewer addresses.
    pub fn say(&self, number: usize, says: Says) -> Result<()> {
        self.host(number)?.says.send_replace(says);
        Ok(())
    }

    /// When that address was asked for a path, in order.
    ///
    /// # Errors
    /// There are fewer addresses.
    pub fn asked(&self, number: usize, path: &str) -> Result<Vec<Instant>> {
        let asked = self.host(number)?.asked.lock();
        Ok(asked.iter().filter(|(_, of)| of == path).map(|(at, _)| *at).collect())
    }

    fn host(&self, number: usize) -> Result<&Host> {
        self.hosts.get(number).with_context(|| format!("there is no address {number}"))
    }
}

async fn listen(addresses: &[Ipv4Addr]) -> Result<(u16, Vec<TcpListener>)> {
    let mut last = None;
    for _ in 0..50 {
        let mut listeners = Vec::new();
        let mut port = 0;
        for address in addresses {
            match TcpListener::bind((*address, port)).await {
                Ok(listener) => {
                    port = listener.local_addr()?.port();
                    listeners.push(listener);
                }
                // Taken on this address: another port is tried.
                Err(error) => last = Some(error),
            }
        }
        if listeners.len() == addresses.len() {
            return Ok((port, listeners));
        }
    }
    Err(anyhow::Error::from(last.unwrap_or_else(|| std::io::Error::other("no address"))).context("no port is free on all addresses"))
}

async fn host(address: SocketAddr, listener: TcpListener, mut says: watch::Receiver<Says>, asked: Arc<Asked>) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        if matches!(*says.borrow_and_update(), Says::Gone) {
            listener = None;
            connections.shutdown().await;
            if says.changed().await.is_err() {
                return;
            }
            continue;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => match TcpListener::bind(address).await {
                Ok(open) => open,
                Err(error) => {
                    eprintln!("{address} can't be listened on again: {error}");
                    return;
                }
            },
        };
        tokio::select! {
            accepted = open.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(serve(stream, says.clone(), asked.clone()));
            },
            changed = says.changed() => if changed.is_err() { return },
        }
        listener = Some(open);
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, mut says: watch::Receiver<Says>, asked: Arc<Asked>) {
    while let Some(path) = request(&mut stream).await {
        asked.lock().push((Instant::now(), path));
        let answer = says.borrow_and_update().clone();
        let sent = match answer {
            Says::Metrics(exposition) => stream.write_all(&text(&exposition())).await.is_ok(),
            Says::Late(after, exposition) => {
                tokio::select! {
                    () = tokio::time::sleep(after) => stream.write_all(&text(&exposition())).await.is_ok(),
                    _ = says.changed() => false,
                }
            }
            Says::Bytes(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                false
            }
            Says::Endless(head, more) => {
                let mut taken = stream.write_all(&head).await.is_ok();
                while taken && !says.has_changed().unwrap_or(true) {
                    taken = stream.write_all(&more).await.is_ok();
                }
                false
            }
            Says::Silence => {
                let _ = says.changed().await;
                false
            }
            Says::Gone => false,
        };
        if !sent {
            return;
        }
    }
}

/// The path of the next request on a connection; `None` when it ends.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    Some(head.split(' ').nth(1)?.to_owned())
}

fn text(body: &str) -> Vec<u8> {
    answer("200 OK", "Content-Type: text/plain; version=0.0.4\r\n", body.as_bytes())
}

/// A whole answer of HTTP/1.1 with the length of its body. `headers` end with a line break each.
#[must_use]
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
