// Send DICOM files on one association, and print the status of each: send.js HOST PORT CALLING CALLED FILE...
const { Client, Transcoding, requests } = require("dcmjs-dimse");

const [host, port, calling, called, ...files] = process.argv.slice(2);
const client = new Client();
const fail = (what) => {
  console.error(what);
  process.exitCode = 1;
};

for (const file of files) {
  const request = new requests.CStoreRequest(file);
  request.on("response", (response) => console.log(`0x${response.getStatus().toString(16)} ${file}`));
  client.addRequest(request);
}
client.on("associationRejected", () => fail("association rejected"));
client.on("networkError", (error) => fail(String(error)));
// Where the gateway takes another encoding of the offered ones, the object is written anew.
Transcoding.initializeAsync().then(() => client.send(host, Number(port), calling, called), fail);
