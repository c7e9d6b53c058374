% Runs in Octave: the arrays of write_caffe.py as a SimpleNN of MatConvNet.
1;
function value = numbers(path, sides)
  file = fopen(path, 'r', 'ieee-le');
  value = reshape(fread(file, Inf, 'single=>single'), sides);
  fclose(file);
end
function layer = convolution(name, sides, pad, stride)
  weights = numbers(['arrays/' name '_w.bin'], sides);
  biases = numbers(['arrays/' name '_b.bin'], [1 sides(4)]);
  layer = struct('name', name, 'type', 'conv', 'pad', pad * ones(1, 4), 'stride', [stride stride]);
  layer.weights = {weights, biases};
end
relu = struct('type', 'relu', 'leak', 0);
norm = struct('type', 'lrn', 'param', [5 1 1e-4/5 0.75]);
% Caffe rounds the number of windows up: a pixel of padding where that would matter.
pool = struct('type', 'pool', 'method', 'max', 'pool', [3 3], 'stride', [2 2], 'pad', [0 1 0 1]);
layers = {convolution('conv1', [11 11 3 96], 0, 4), relu, norm, pool, ...
  convolution('conv2', [5 5 48 256], 2, 1), relu, norm, pool, ...
  convolution('conv3', [3 3 256 384], 1, 1), relu, ...
  convolution('conv4', [3 3 192 384], 1, 1), relu, ...
  convolution('conv5', [3 3 192 256], 1, 1), relu, pool, ...
  convolution('fc6', [6 6 256 4096], 0, 1), relu, ...
  convolution('fc7', [1 1 4096 4096], 0, 1), relu, ...
  convolution('fc8', [1 1 4096 7], 0, 1), struct('type', 'softmax')};
mean_image = 110 * ones(227, 227, 3, 'single');
meta.normalization = struct('imageSize', [227 227 3], 'averageImage', mean_image, 'border', [29 29]);
meta.classes.description = arrayfun(@(i) sprintf('class %d', i), 1:7, 'UniformOutput', false);
save('-v7', 'v7.mat', 'layers', 'meta');
save('-v6', 'v6.mat', 'layers', 'meta');
file = fopen('versions_3.json', 'w');
fprintf(file, '{"octave": "%s"}', OCTAVE_VERSION);
fclose(file);
