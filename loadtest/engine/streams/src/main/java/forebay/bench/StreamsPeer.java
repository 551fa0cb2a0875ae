package forebay.bench;

import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The same work in Kafka Streams: exactly_once_v2, one aggregate per key in RocksDB with a changelog, one output per
 * input of the input's size. Values are opaque bytes here: no Avro, no headers, no dedupe, no status.
 *
 * <p>Arguments: broker, input topic, output topic, records expected, folder, and {@code name=value} settings of Kafka
 * Streams that win over those set below. Both topics exist. A read_committed reader in the main thread counts.
 */
public final class StreamsPeer {
    private static final String STORE = "totals";
    private static final int STATE_BYTES = 3 * Long.BYTES;
    private static final long STALLED_NANOS = Duration.ofSeconds(60).toNanos();

    /** Count, exponentially weighted value and the last number, per key. */
    static final class Aggregate implements Processor<byte[], byte[], byte[], byte[]> {
        private ProcessorContext<byte[], byte[]> context;
        private KeyValueStore<byte[], byte[]> totals;

        @Override
        public void init(ProcessorContext<byte[], byte[]> context) {
            this.context = context;
            this.totals = context.getStateStore(STORE);
        }

        @Override
        public void process(Record<byte[], byte[]> event) {
            ByteBuffer input = ByteBuffer.wrap(event.value());
            long number = input.getLong();
            // some bits of the record, as a small number
            double value = (input.getLong() & 0xffff) / 10.0;
            byte[] before = totals.get(event.key());
            ByteBuffer after = ByteBuffer.allocate(STATE_BYTES);
            if (before == null) {
                after.putLong(1).putDouble(value);
            } else {
                ByteBuffer old = ByteBuffer.wrap(before);
                after.putLong(old.getLong() + 1).putDouble(old.getDouble() * 0.95 + value * 0.05);
            }
            after.putLong(number);
            totals.put(event.key(), after.array());
            byte[] result = event.value().clone();
            System.arraycopy(after.array(), 0, result, 0, STATE_BYTES);
            context.forward(event.withValue(result));
        }
    }

    /** How far it was, and what it had used. */
    private record Moment(long nanos, double cpuSeconds, double readerSeconds, long records) {
        static Moment now(long records) throws Exception {
            String stat = Files.readString(Path.of("/proc/self/stat"));
            String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
            double cpu = (Long.parseLong(fields[11]) + Long.parseLong(fields[12])) / 100.0;
            double reader = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() / 1e9;
            return new Moment(System.nanoTime(), cpu, reader, records);
        }

        double rateSince(Moment other) {
            return (records - other.records) * 1e9 / Math.max(1, nanos - other.nanos);
        }
    }

    public static void main(String[] arguments) throws Exception {
        String broker = arguments[0];
        long expected = Long.parseLong(arguments[3]);
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[2] + ".peer");
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, broker);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[4]);
        // every change reaches the changelog, as every decided batch of the engine reaches its log
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        for (String setting : List.of(arguments).subList(5, arguments.length)) {
            settings.put(setting.substring(0, setting.indexOf('=')), setting.substring(setting.indexOf('=') + 1));
        }

        try (KafkaConsumer<byte[], byte[]> reader = reader(broker, arguments[2]);
                KafkaStreams streams = new KafkaStreams(topology(arguments[1], arguments[2]), settings)) {
            Moment begun = Moment.now(0);
            streams.start();
            count(reader, expected, begun);
        }
    }

    private static Topology topology(String input, String output) {
        var bytes = Serdes.ByteArray();
        return new Topology()
                .addSource("events", bytes.deserializer(), bytes.deserializer(), input)
                .addProcessor("aggregate", Aggregate::new, "events")
                .addStateStore(
                        Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(STORE), bytes, bytes)
                                .withLoggingEnabled(Map.of()),
                        "aggregate")
                .addSink("results", output, bytes.serializer(), bytes.serializer(), "aggregate");
    }

    private static KafkaConsumer<byte[], byte[]> reader(String broker, String topic) {
        Properties settings = new Properties();
        settings.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, broker);
        settings.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
        settings.put(ConsumerConfig.FETCH_MAX_WAIT_MS_CONFIG, 50);
        settings.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 5000);
        var reader = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        List<TopicPartition> all = reader.partitionsFor(topic).stream()
                .map(partition -> new TopicPartition(topic, partition.partition()))
                .collect(Collectors.toList());
        reader.assign(all);
        reader.seekToBeginning(all);
        return reader;
    }

    private static void count(KafkaConsumer<byte[], byte[]> reader, long expected, Moment begun) throws Exception {
        long records = 0;
        long sum = 0;
        Moment first = null;
        Moment half = null;
        long seen = System.nanoTime();
        while (records < expected) {
            var polled = reader.poll(Duration.ofMillis(100));
            if (polled.isEmpty()) {
                if (System.nanoTime() - seen > STALLED_NANOS) {
                    throw new IllegalStateException("no result for a minute after " + records);
                }
                continue;
            }
            seen = System.nanoTime();
            first = first == null ? Moment.now(0) : first;
            for (var result : polled) {
                sum += ByteBuffer.wrap(result.value()).getLong();
                records++;
            }
            half = half == null && records >= expected / 2 ? Moment.now(records) : half;
        }
        Moment last = Moment.now(records);
        double cpu = (last.cpuSeconds() - first.cpuSeconds()) * 1e6 / records;
        double alone = cpu - (last.readerSeconds() - first.readerSeconds()) * 1e6 / records;
        double warm = (last.cpuSeconds() - half.cpuSeconds()) * 1e6 / Math.max(1, last.records() - half.records());
        System.out.printf(Locale.ROOT,
                "peer {\"records\":%d,\"rate\":%.1f,\"rate_warm\":%.1f,\"cpu_us\":%.3f,\"cpu_us_warm\":%.3f,\"cpu_us_alone\":%.3f,\"rss_mib\":%d,\"peak_mib\":%d,\"sum\":%d}%n",
                records, last.rateSince(begun), last.rateSince(half), cpu, warm, alone, status("VmRSS") / 1024, status("VmHWM") / 1024, sum);
    }

    private static long status(String name) throws Exception {
        return Files.readAllLines(Path.of("/proc/self/status")).stream()
                .filter(line -> line.startsWith(name))
                .mapToLong(line -> Long.parseLong(line.replaceAll("[^0-9]", "")))
                .findFirst()
                .orElse(0);
    }
}
